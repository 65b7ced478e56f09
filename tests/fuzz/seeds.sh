#!/usr/bin/env bash
# Inputs that the fuzz targets begin with, from what the tests have: golden networks, arrays and pictures, the networks that the
# tests make by hand, configurations, and the results of a run.
#   tests/fuzz/seeds.sh BUILD OUT     BUILD: where spade and the tests are built; OUT: gets a folder for each target
set -euo pipefail
build=$(realpath "${1:?usage: seeds.sh BUILD OUT}")
out=${2:?usage: seeds.sh BUILD OUT}
mkdir -p "$out"/{array,manifest,network,picture,report,results,settings,tar}
out=$(realpath "$out")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
golden=tests/golden/data

# networks: exported ones, and those that tests write (tests/support/wire.c); an operator's own cases of the ONNX project
cp $golden/exports/*.onnx $golden/models/transformer_parts_*.onnx "$out/network"
for test in "$build"/tests/{onnx_test_onnx_read,onnx_test_onnx_write,robust_test_model_robust,unit_test_*}; do
    case $test in *_devices | *.cmake) continue ;; esac
    if grep -q SPADE_TEST_KEEP "$test" 2>/dev/null; then SPADE_TEST_KEEP=$out/network "$test" >/dev/null 2>&1 || true; fi
done
cases=$work/cases # of each operator three
mkdir "$cases"
SPADE_TEST_KEEP=$cases "$build/tests/onnx_test_onnx_nodes_devices" >/dev/null 2>&1 || true
operators=$("$build/spade" operators --json | grep -oE '"name":"[A-Za-z]+"' | cut -d '"' -f 4 | paste -s -d '|')
LC_ALL=C grep -raoE --include='*.onnx' "(^|[^A-Za-z])($operators)([^A-Za-z]|\$)" "$cases" | LC_ALL=C awk '{
    file = substr($0, 1, index($0, ":") - 1)
    name = substr($0, length(file) + 2)
    gsub(/[^A-Za-z]/, "", name)
    if (!seen[file, name]++ && count[name]++ < 3) print file
}' | sort -u | xargs -r cp -t "$out/network"
find "$out/network" -not -name '*.onnx' -type f -delete
find "$out/network" -size +120k -delete

# arrays: the small ones, and the beginnings of kinds that are refused
find $golden/arrays -name '*.npy' -size -3k -exec cp --backup=numbered {} "$out/array" \;
for type in f2 f8 i4 u1 b1 c8; do
    printf "\x93NUMPY\x01\x00\x46\x00{'descr': '<%s', 'fortran_order': False, 'shape': (1,), }          \n12345678" $type >"$out/array/$type.npy"
done
for type in i2 u2 f4; do # superpixels
    printf "\x93NUMPY\x01\x00\x46\x00{'descr': '<%s', 'fortran_order': False, 'shape': (2, 2), }          \n\0\0\1\0\2\0\0\0" $type >"$out/array/labels_$type.npy"
done

# manifests
printf 'image,label,mask\na.png,1,m/a.png\nb.png,cat,\n' >"$out/manifest/plain.csv"
printf '\xef\xbb\xbfid, Label ,IMAGE\r\n1,"a ""b"", c","x\ny.png"\r\n\r\n2,,../a/../b.png\r\n' >"$out/manifest/quoted.csv"

# tars of samples: plain ones, with long names, links and holes, and compressed
mkdir -p "$work/tar/d"
(
    cd "$work/tar"
    printf 'P5 2 2 255 abcd' | tee d/a.pgm d/b.input.pgm d/b.bin d/a.seg.pgm >/dev/null
    printf '7\n' >d/a.cls
    printf '{"label": "cat"}' | tee d/b.json d/c.json >/dev/null
    ln -s a.pgm d/c.pgm
    truncate -s 40k d/holes.pgm
    printf 'P5 2 2 255 abcd' | dd of=d/holes.pgm bs=1 seek=20000 conv=notrunc status=none
    tar --sort=name --format=ustar -cf "$out/tar/plain.tar" d/a.* d/b.* d/c.*
    tar --sort=name --format=gnu -cf "$out/tar/gnu.tar" --transform "s|^d|$(printf 'd%.0s' {1..120})|" d/a.*
    tar --sort=name --format=pax -cf "$out/tar/pax.tar" --transform "s|^d|$(printf 'd%.0s' {1..120})|" d/a.*
    tar --format=gnu -Scf "$out/tar/holes_gnu.tar" d/holes.pgm
    tar --format=posix -Scf "$out/tar/holes_posix.tar" d/holes.pgm
    for kind in gz bz2 xz zst; do
        tar --sort=name -acf "$work/small.tar.$kind" d/a.* 2>/dev/null && mv "$work/small.tar.$kind" "$out/tar/small.$kind" || true
    done
)

# pictures: whole ones are small enough; other formats and colour types are made by the tests of pictures
find examples/pictures examples/masks $golden/images $golden/decoding -type f -not -name '*.ppm' -size -40k \
    -exec cp --backup=numbered {} "$out/picture" \;
{ # turned by EXIF
    head -c 2 $golden/decoding/grey.jpg
    printf '\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0'
    tail -c +3 $golden/decoding/grey.jpg
} >"$out/picture/turned.jpg"
{
    printf 'RIFF\x24\1\0\0'
    tail -c +9 $golden/decoding/lossy.webp
    printf 'EXIF\x1a\0\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0'
} >"$out/picture/turned.webp"
printf 'P3 2 1 255 255 0 0 0 9 0' >"$out/picture/plain.ppm"
printf 'P1 2 2 1 0 0 1' >"$out/picture/plain.pbm"
printf 'P6 2 1 255 abcdef' >"$out/picture/raw.ppm"
printf 'P5 # grey\n2 1 65535\nabcd' >"$out/picture/wide.pgm"
printf 'P4 9 2 abcd' >"$out/picture/bits.pbm"
printf 'BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\1\0\0\0\1\0\0\0\1\0\x18\0\0\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0abc\0' \
    >"$out/picture/one.bmp"

# settings
cp configs/*.yaml "$out/settings"
printf 'rules:\n- {layers: "*.conv1", sparsity: 0.9, nm: "2:4"}\nsparsity: [{layers: fc, value: 0}]\nmethods: [saliency, {smoothgrad: {samples: 25, sigma: 0.1}}, "gradcam:layer=layer3"]\nmetrics: [roc_auc, {pointing: {tolerance: 15}}]\n' >"$out/settings/rules.yaml"
printf 'a: &a [1, 2]\nb: *a\n? c\n: {<<: {d: e}}\n...\n---\n' >"$out/settings/forms.yaml"
printf '{"architecture": "x", "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.9, "crop_mode": "squash"}}' >"$out/settings/timm.json"
printf '{"image_processor_type": "x", "do_resize": true, "do_center_crop": true, "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3, "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}' >"$out/settings/transformers.json"

# results of a run, and texts
"$build/spade" explain examples/scene_resnet.onnx examples/pictures/scene0[01].png -o "$work/run" --variants 4 >/dev/null 2>&1
cp "$work/run/results.jsonl" "$out/results/run.jsonl"
sed 's/scene01/a_0000/g; s/"index":[0-9]*/"index":0/' "$work/run/results.jsonl" >"$out/results/other.jsonl"
printf '{"version":"0"}\n{"file":"a.npy","index":0,"name":"a_0000","error":"no"}\n{"file":"x","name":"foreign","picture":"foreign/y"}\n' >"$out/results/failed.jsonl"
printf 'net.onnx\0pic<1>.png\0name\0cat & "dog"\0\xc3\xa9\0scene00/input.png\0not a picture\0logits' >"$out/report/texts"
printf '/\0=1+1\0,;"\0\x1b[31m\0\xc2\x9b\0\x27\0</script><!--\0\xff\xfe' >"$out/report/marks"
