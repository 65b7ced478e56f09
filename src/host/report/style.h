/* style.h - the style sheet of the report: light and dark, wide and narrow, no script. */
#ifndef SPADE_REPORT_STYLE_H
#define SPADE_REPORT_STYLE_H

#define REPORT_STYLE                                                                                                   \
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#5b6570;--line:#dfe3e8;"             \
    "--dense:#7a869a;--trace:#0a7d6c;--win:#e3f4f0;--warn:#fff3d6;--warntext:#6b4700}"                                 \
    "@media(prefers-color-scheme:dark){:root{--bg:#101418;--card:#1a2026;--text:#e6eaee;--soft:#9aa6b2;"               \
    "--line:#2c353e;--dense:#8b98ab;--trace:#3cc4ac;--win:#143a34;--warn:#3d3112;--warntext:#ffdc8f}}"                 \
    "*{box-sizing:border-box}"                                                                                         \
    "body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,-apple-system,'Segoe UI',"           \
    "Roboto,sans-serif}main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}"                                    \
    "h1{font-size:1.6rem;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}"                                       \
    "h2{font-size:1.15rem;margin:0;overflow-wrap:anywhere}h3{font-size:.95rem;margin:0 0 8px;font-weight:600}"         \
    "p{margin:0 0 10px}p,li{overflow-wrap:anywhere}.below{margin:10px 0 0}"                                            \
    ".soft{color:var(--soft);font-size:.9rem}"                                                                         \
    ".card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px;margin:16px 0}"         \
    ".head{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;margin-bottom:12px}"                          \
    ".warn{background:var(--warn);color:var(--warntext);border-radius:8px;padding:8px 12px;margin:0 0 12px}"           \
    ".body{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,2fr);gap:20px}"                                   \
    ".pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:12px "                                       \
    "20px}.maps>*+*,.about>*+*{margin-top:16px}"                                                                       \
    ".many,.many .maps,.many .about,.four .about{display:grid;gap:20px;align-content:start}"                           \
    ".four,.four .about{grid-template-columns:repeat(2,minmax(0,1fr))}.four "                                          \
    ".about>*{margin:0}.many{grid-template-columns:minmax(0,1fr)}"                                                     \
    ".many .maps{grid-template-columns:repeat(2,minmax(0,1fr))}.many "                                                 \
    ".maps>section{display:grid;grid-row:span 2;grid-template-rows:subgrid;row-gap:0}.many .maps h3{align-self:end}"   \
    ".many .maps>*,.many .about>*{margin:0}"                                                                           \
    ".many .about{grid-template-columns:repeat(4,minmax(0,1fr))}.many.lone "                                           \
    ".maps{grid-template-columns:repeat(4,minmax(0,1fr))}"                                                             \
    ".lone .pair{grid-template-columns:minmax(0,1fr)}.many .scores,.four .scores{grid-column:span 2}"                  \
    "figure{margin:0;border-radius:8px}figure img{display:block;width:100%;border-radius:8px}"                         \
    "figcaption{font-size:.9rem;padding:6px 2px 0}figcaption b{display:block}"                                         \
    ".value{display:inline-block;padding:0 8px;border-radius:12px;border:1px solid var(--line);"                       \
    "font-variant-numeric:tabular-nums}.value.best{background:var(--win);border-color:var(--trace);font-weight:600}"   \
    ".value.broken{background:var(--warn);border-color:var(--warntext);color:var(--warntext)}"                         \
    ".checks{margin-top:16px;font-size:.9rem}"                                                                         \
    ".cascade{display:grid;grid-template-columns:repeat(auto-fill,minmax(120px,1fr));gap:12px;margin-top:8px}."        \
    "cascade b{overflow-wrap:anywhere}"                                                                                \
    "table{border-collapse:collapse;width:100%;font-size:.9rem}"                                                       \
    "th,td{text-align:left;padding:4px 8px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}"              \
    "th{font-weight:600;color:var(--soft)}td.n{white-space:nowrap;padding-left:14px}"                                  \
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.scroll{overflow-x:auto}"                            \
    ".scores{font-size:.9rem}.score{margin-top:8px}.score .name{overflow-wrap:anywhere}"                               \
    ".bar{display:grid;grid-template-columns:1fr 4.2em;gap:8px;align-items:center;font-size:.8rem;"                    \
    "line-height:1.25;font-variant-numeric:tabular-nums}"                                                              \
    ".bar i{display:block;height:8px;border-radius:4px;min-width:2px}.bar .d{background:var(--dense)}"                 \
    ".bar .t{background:var(--trace)}.bar span:last-child{text-align:right;white-space:nowrap}"                        \
    ".key{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:5px}"                             \
    ".key.d{background:var(--dense)}.key.t{background:var(--trace)}.key+*{margin-right:14px}"                          \
    ".pages{display:grid;grid-template-columns:1fr auto 1fr;gap:12px;margin:16px 0}.pages>:last-child{text-align:"     \
    "right}a{color:var(--trace)}.strip img{height:44px;width:auto;border-radius:5px;margin:0 4px 0 0;vertical-align:"  \
    "top}.strip{white-space:nowrap}"                                                                                   \
    ".legend{display:grid;grid-template-columns:1fr 1fr;gap:16px 24px}"                                                \
    ".legend img{display:block;width:100%;height:16px;border-radius:4px;margin:4px 0}"                                 \
    ".ends{display:flex;justify-content:space-between;font-size:.8rem;color:var(--soft)}details{margin-top:12px}"      \
    ".choice{display:flex;flex-wrap:wrap;gap:4px 18px;padding:10px "                                                   \
    "18px;position:sticky;top:0;z-index:1;font-size:.9rem}"                                                            \
    ".choice span{display:flex;gap:18px}.choice label{cursor:pointer;white-space:nowrap}.choice input{margin:0 6px 0 " \
    "0;accent-color:var(--trace)}"                                                                                     \
    "@supports not selector(:has(a)){.choice{display:none}}"                                                           \
    "body:has(#show-dense:not(:checked)) .dense,body:has(#show-trace:not(:checked)) .trace{display:none}"              \
    "body:has(#show-dense:not(:checked),#show-trace:not(:checked)) .pair{grid-template-columns:minmax(0,1fr)}"         \
    "body:has(#show-dense:not(:checked),#show-trace:not(:checked)) .many "                                             \
    ".maps{grid-template-columns:repeat(4,minmax(0,1fr))}"                                                             \
    ".gallery{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:20px 28px}.shots{display:grid;gap:18px;"  \
    "align-content:start}.shots>*{margin:0}.shot .head{margin-bottom:6px;font-size:.9rem}"                             \
    ".tiles{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:8px;font-size:.85rem}"                      \
    ".tiles.two{grid-template-columns:repeat(2,minmax(0,1fr))}.tiles svg{display:block;width:100%;border-radius:8px}"  \
    ".tiles img{margin-bottom:4px}.up,.down{border-radius:4px;padding:0 3px}.up{background:var(--win)}"                \
    ".down{background:var(--warn);color:var(--warntext)}"                                                              \
    ".pairs .dense{grid-column:2}.pairs .trace{grid-column:3}"                                                         \
    ".decisions{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:0 "                                     \
    "14px;margin-bottom:8px;font-size:.9rem}"                                                                          \
    ".decisions>span{display:flex;align-items:baseline;white-space:nowrap}.decisions .key{flex:none}"                  \
    ".decisions b{overflow:hidden;text-overflow:ellipsis;margin-right:5px}"                                            \
    "@media(max-width:760px){.gallery{grid-template-columns:minmax(0,1fr)}}"                                           \
    "summary{cursor:pointer}"                                                                                          \
    "pre{overflow-x:auto;font-size:.8rem;background:var(--bg);padding:12px;border-radius:8px}"                         \
    "@media(max-width:640px){main{padding:14px 10px 32px}.card{padding:14px;margin:12px 0}"                            \
    ".body,.many .maps,.legend{grid-template-columns:minmax(0,1fr)}.many .about,.many.lone "                           \
    ".maps{grid-template-columns:"                                                                                     \
    "repeat(2,minmax(0,1fr))}.pair{gap:10px}.value{font-size:.8rem;padding:0 6px}"                                     \
    "body:has(#show-dense:not(:checked),#show-trace:not(:checked)) .many "                                             \
    ".maps{grid-template-columns:repeat(2,minmax(0,1fr))}"                                                             \
    "th,td{padding-right:6px}h1{font-size:1.3rem}}@media print{.card{break-inside:avoid}.choice{display:none}}"

#endif
