"""Compresses a voice activity detector with synthesised speech and prints what that costs on other.

    python -m tests.bench.vad MODEL.onnx -- --tolerance 0.04

MODEL is a silero-vad file: it takes `input` (n, 576: 64 samples of context and 512 new ones at 16 kHz),
`state` (2, n, 128) and `sr`, and returns the probability of speech and the next state. It is run frame
by frame, so that errors of the state add up. Calibration and test use other seeds, so other voices.
What stands behind -- goes to onnxzip.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from scipy.signal import butter, lfilter

from tests.bench.command import compress, split

RATE, FRAME, CONTEXT = 16000, 512, 64
VOWELS = (
    *((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)),
    *((570, 840, 2410), (660, 1720, 2410), (490, 1350, 1690), (440, 1020, 2240)),
)  # formants in Hz, Peterson and Barney 1952, doi 10.1121/1.1906875


def resonate(sound: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """Filter with one formant (Klatt 1980, doi 10.1121/1.383940, equation 2)."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    b, c = 2 * radius * np.cos(2 * np.pi * frequency / RATE), -(radius**2)
    return np.asarray(lfilter([1 - b - c], [1, -b, -c], sound))


def syllable(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """Return a consonant of noise and a vowel of glottal pulses, float64."""
    n = int(RATE * rng.uniform(0.1, 0.3))
    contour = pitch * (1 + 0.15 * np.sin(np.linspace(0, rng.uniform(1, 4), n)))
    phase = np.cumsum(contour) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    vowel = lfilter([1.0], [1, -0.95], pulses)
    scale = rng.uniform(0.9, 1.2)
    for i, frequency in enumerate((*VOWELS[rng.integers(len(VOWELS))], 3500)):
        vowel = resonate(vowel, frequency * scale, 60 + 40 * i)
    vowel *= np.sin(np.linspace(0, np.pi, n)) ** 0.5 / max(np.abs(vowel).max(), 1e-9)
    low = rng.uniform(1500, 4000)
    band = butter(2, [low, min(2 * low, 7500)], "band", fs=RATE)
    noise = lfilter(*band, rng.standard_normal(int(RATE * rng.uniform(0.02, 0.12))))
    consonant = noise * np.hanning(len(noise)) * 0.3 / max(np.abs(noise).max(), 1e-9)
    return np.concatenate([consonant, vowel])


def speech(seed: int, n_seconds: float) -> np.ndarray:
    """Return phrases with pauses between them over background noise, float32."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < RATE * n_seconds:
        pitch = rng.uniform(90, 240)
        parts += [syllable(rng, pitch * rng.uniform(0.9, 1.1)) for _ in range(rng.integers(2, 12))]
        parts.append(np.zeros(int(RATE * rng.uniform(0.3, 1.5))))
    sound = np.concatenate(parts)[: int(RATE * n_seconds)] * rng.uniform(0.1, 0.6)
    noise = lfilter([1.0], [1, -0.9], rng.standard_normal(len(sound)))
    return (sound + noise * 10 ** rng.uniform(-4, -2)).astype(np.float32)


def listen(model: Path, sounds: list[np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Run frame by frame over sounds of one length.

    Returns:
        The probabilities, (n_sounds, n_frames), and every input on the way.
    """
    session = ort.InferenceSession(model)
    state = np.zeros((2, len(sounds), 128), np.float32)
    padded = np.pad(np.stack(sounds), ((0, 0), (CONTEXT, 0)))
    rate = np.array(RATE, np.int64)
    takes_rate = any(node.name == "sr" for node in session.get_inputs())
    probabilities, inputs, states = [], [], []
    for start in range(0, padded.shape[1] - CONTEXT - FRAME + 1, FRAME):
        frame = padded[:, start : start + CONTEXT + FRAME]
        inputs.append(frame)
        states.append(state)
        feeds = {"input": frame, "state": state, **({"sr": rate} if takes_rate else {})}
        probability, state = session.run(None, feeds)[:2]
        probabilities.append(probability.reshape(len(sounds)))
    fed = {"input": np.concatenate(inputs), "state": np.concatenate(states, axis=1)}
    return np.stack(probabilities, axis=1), {**fed, **({"sr": rate} if takes_rate else {})}


def main(arguments: list[str]) -> int:
    """Print one row a model."""
    models, options = split(arguments)
    print("| model | bytes before | bytes after | ratio | mean abs. error | speech found | seconds |")
    print("|---|---|---|---|---|---|---|")
    for model in map(Path, models):
        with tempfile.TemporaryDirectory() as work:
            data, output = Path(work) / "speech.npz", Path(work) / "out.onnx"
            _, inputs = listen(model, [speech(seed, 4.0) for seed in range(16)])
            np.savez(data, **inputs)
            seconds = compress(model, output, "-c", str(data), *options)
            sounds = [speech(seed, 20.0) for seed in range(100, 108)]
            (first, _), (second, _) = (listen(path, sounds) for path in (model, output))
            before, after = model.stat().st_size, output.stat().st_size
        print(
            f"| {model.name} | {before:,} | {after:,} | {before / after:.2f}x "
            f"| {np.abs(first - second).mean():.4f} | {np.mean(first > 0.5):.0%} | {seconds:.0f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
