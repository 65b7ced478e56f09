/* json_parse.c - from text to JSON values; see json.h for why it is here. */
#include <errno.h>
#include <math.h>

#include "base/json.h"
#include "base/number.h"
#include "base/text.h"

enum { MAX_DEPTH = 128, MAX_NUMBER = 64 };

typedef struct parser {
    const char *at, *end;
    int line, depth;
    spade_json_error *error; /* reason: NULL while all is well */
} parser;

static json_t *parse_value(parser *p);

static json_t *fail(parser *p, const char *reason)
{
    if (!p->error->reason) { *p->error = (spade_json_error){.line = p->line, .reason = reason}; }
    return NULL;
}

static json_t *fail_memory(parser *p)
{
    if (!p->error->reason) {
        *p->error = (spade_json_error){.memory = true, .line = p->line, .reason = "out of memory"};
    }
    return NULL;
}

static json_t *made(parser *p, json_t *value)
{
    return value ? value : fail_memory(p);
}

static void skip_blank(parser *p)
{
    for (; p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'); p->at++) {
        p->line += *p->at == '\n';
    }
}

/* The next character is this one: go past it. */
static bool take(parser *p, char c)
{
    if (p->at == p->end || *p->at != c) { return false; }
    p->at++;
    return true;
}

static bool take_digits(parser *p)
{
    const char *start = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') { p->at++; }
    return p->at > start;
}

/* ---- numbers */
static json_t *parse_number(parser *p)
{
    char text[MAX_NUMBER];
    const char *start = p->at;
    bool real = false;
    take(p, '-');
    if (!take(p, '0') && !take_digits(p)) { return fail(p, "a value is missing, or is none"); }
    if (take(p, '.')) {
        real = true;
        if (!take_digits(p)) { return fail(p, "a number that ends in a point"); }
    }
    if (take(p, 'e') || take(p, 'E')) {
        real = true;
        if (!take(p, '+')) { take(p, '-'); }
        if (!take_digits(p)) { return fail(p, "a number without its exponent"); }
    }
    const size_t length = (size_t)(p->at - start);
    if (length >= sizeof text) { return fail(p, "a number of too many digits"); }
    memcpy(text, start, length);
    text[length] = 0;
    errno = 0;
    if (!real) {
        const long long integer = strtoll(text, NULL, 10);
        return errno ? fail(p, "an integer that does not fit into 64 bits") : made(p, json_integer(integer));
    }
    const double number = spade_read_real(text);
    return isfinite(number) ? made(p, json_real(number)) : fail(p, "a number that is too large");
}

/* ---- strings */

/* The four digits of \uXXXX; -1: they are none. */
static int32_t take_hex(parser *p)
{
    int32_t code = 0;
    if (p->end - p->at < 4) { return -1; }
    for (int i = 0; i < 4; i++) {
        const char c = *p->at++;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) { return -1; }
        code = code << 4 | digit;
    }
    return code;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3; /* bytes behind the first */
    *to++ = (char)((more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0) | code >> (6 * more));
    for (int i = more; i-- > 0;) { *to++ = (char)(0x80 | (code >> (6 * i) & 0x3f)); }
    return to;
}

/* Behind \u: one character, of which two halves may be written. NULL: they are none. */
static char *take_escaped_unicode(parser *p, char *to)
{
    int32_t code = take_hex(p);
    if (code >= 0xd800 && code < 0xdc00) {
        const int32_t low = take(p, '\\') && take(p, 'u') ? take_hex(p) : -1;
        if (low < 0xdc00 || low > 0xdfff) { return NULL; }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code <= 0 || (code >= 0xdc00 && code < 0xe000)) { /* U+0000 has no place in a C string */
        return NULL;
    }
    return put_utf8(to, (uint32_t)code);
}

/* Behind a backslash. NULL: no such escape. */
static char *take_escaped(parser *p, char *to)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (p->at == p->end) { return NULL; }
    const char c = *p->at++;
    if (c == 'u') { return take_escaped_unicode(p, to); }
    const char *found = c ? strchr(names, c) : NULL;
    if (!found) { return NULL; }
    *to++ = meanings[found - names];
    return to;
}

/* A string's characters, malloc'ed; NULL: see the error. No escape is longer than what it stands for. */
static char *parse_text(parser *p, size_t *length)
{
    const char *close = p->at + 1;
    while (close < p->end && *close != '"') { close += *close == '\\' ? 2 : 1; }
    if (p->at == p->end || *p->at != '"' || close >= p->end) {
        fail(p, "a string is missing, or has no end");
        return NULL;
    }
    char *text = malloc((size_t)(close - p->at) + 1), *to = text;
    if (!text) {
        fail_memory(p);
        return NULL;
    }
    for (p->at++; p->at < close;) {
        const unsigned char c = (unsigned char)*p->at++;
        if (c == '\\') {
            to = take_escaped(p, to);
        } else if (c < 0x20) {
            to = NULL;
        } else {
            *to++ = (char)c;
        }
        if (!to) {
            free(text);
            fail(p, "a string with a control character, or an escape that is none");
            return NULL;
        }
    }
    p->at = close + 1;
    *to = 0;
    *length = (size_t)(to - text);
    return text;
}

static json_t *parse_string(parser *p)
{
    size_t length;
    char *text = parse_text(p, &length);
    if (!text) { return NULL; }
    json_t *value = spade_is_utf8(text) ? made(p, json_stringn(text, length)) : fail(p, "a string that is not UTF-8");
    free(text);
    return value;
}

/* ---- lists and objects; the bracket that opens them is behind p->at */
static json_t *parse_array(parser *p)
{
    json_t *list = made(p, json_array());
    skip_blank(p);
    if (!list || take(p, ']')) { return list; }
    do {
        json_t *value = parse_value(p);
        if (!value || json_array_append_new(list, value) != 0) {
            json_decref(list);
            return value ? fail_memory(p) : NULL;
        }
        skip_blank(p);
    } while (take(p, ','));
    if (take(p, ']')) { return list; }
    json_decref(list);
    return fail(p, "a list without its end");
}

/* "name": value. False: see the error. */
static bool parse_member(parser *p, json_t *object)
{
    size_t length;
    skip_blank(p);
    char *name = parse_text(p, &length);
    if (!name) { return false; }
    skip_blank(p);
    json_t *value = NULL;
    if (!spade_is_utf8(name)) {
        fail(p, "a name that is not UTF-8");
    } else if (!take(p, ':')) {
        fail(p, "a name without a colon");
    } else {
        value = parse_value(p);
    }
    if (value && json_object_get(object, name) && !p->error->repeats) {
        p->error->repeats = true;
        p->error->line = p->line;
    }
    const bool set = value && json_object_set_new(object, name, value) == 0;
    if (value && !set) { fail_memory(p); }
    free(name);
    return set;
}

static json_t *parse_object(parser *p)
{
    json_t *object = made(p, json_object());
    skip_blank(p);
    if (!object || take(p, '}')) { return object; }
    do {
        if (!parse_member(p, object)) {
            json_decref(object);
            return NULL;
        }
        skip_blank(p);
    } while (take(p, ','));
    if (take(p, '}')) { return object; }
    json_decref(object);
    return fail(p, "an object without its end");
}

static bool take_word(parser *p, const char *word)
{
    const size_t length = strlen(word);
    if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length) != 0) { return false; }
    p->at += length;
    return true;
}

static json_t *parse_value(parser *p)
{
    skip_blank(p);
    if (p->at < p->end && *p->at == '"') { return parse_string(p); }
    if (take_word(p, "true")) { return json_true(); }
    if (take_word(p, "false")) { return json_false(); }
    if (take_word(p, "null")) { return json_null(); }
    const bool list = take(p, '[');
    if (!list && !take(p, '{')) { return parse_number(p); }
    if (++p->depth > MAX_DEPTH) { return fail(p, "more than 128 brackets within each other"); }
    json_t *value = list ? parse_array(p) : parse_object(p);
    p->depth--;
    return value;
}

json_t *spade_json_parse(const char *text, size_t size, spade_json_error *error)
{
    parser p = {.at = text, .end = text + size, .line = 1, .error = error};
    *error = (spade_json_error){0};
    json_t *value = parse_value(&p);
    skip_blank(&p);
    if (!value || p.at == p.end) { return value; }
    json_decref(value);
    return fail(&p, "something behind its end");
}
