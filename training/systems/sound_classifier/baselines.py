"""What a network has to beat: statistics of log-mel and MFCC frames under a linear SVM or a random forest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.fft import dct
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from neurips16.training.data.esc50.reader import Clip, SoundSet, read_clips
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ

WINDOW, HOP = 1024, 512  # samples: 46 ms and 23 ms
MELS, CEPSTRA = 64, 20
_FLOOR = 1e-10  # of the power, 100 dB below a full-scale sine


def mel_filters(sample_rate_hz: int = SAMPLE_RATE_HZ, mels: int = MELS, window: int = WINDOW) -> np.ndarray:
    """Triangular filters [mels, window // 2 + 1], evenly spaced on O'Shaughnessy's scale 2595 log10(1 + f / 700)."""
    top = 2595 * np.log10(1 + sample_rate_hz / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    bins = np.linspace(0, sample_rate_hz / 2, window // 2 + 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall))


def log_mel(sound: np.ndarray) -> np.ndarray:
    """Logarithms of a sound's mel powers, [frames, MELS]."""
    transform = ShortTimeFFT(hann(WINDOW, sym=False), HOP, SAMPLE_RATE_HZ, scale_to="magnitude")
    power = np.abs(transform.stft(np.pad(sound, (0, max(0, WINDOW - len(sound)))))) ** 2  # [bins, frames]
    return np.log(mel_filters() @ power + _FLOOR).T


def statistics(frames: np.ndarray) -> np.ndarray:
    """Mean and deviation of every column, and of its change from frame to frame, [4 * columns]."""
    change = np.diff(frames, axis=0, append=frames[-1:])
    return np.concatenate([frames.mean(0), frames.std(0), change.mean(0), change.std(0)])


def _log_mel_statistics(sound: np.ndarray) -> np.ndarray:
    return statistics(log_mel(sound))


def _mfcc_statistics(sound: np.ndarray) -> np.ndarray:
    return statistics(dct(log_mel(sound), norm="ortho", axis=1)[:, :CEPSTRA])


def _svm() -> Any:
    return make_pipeline(StandardScaler(), LinearSVC(C=0.01, dual="auto", random_state=0, max_iter=5000))


def _forest() -> Any:
    return RandomForestClassifier(500, random_state=0)


# name -> (what a sound becomes, what learns from it); C and the forest's size are scikit-learn's usual ones for so
# many columns and clips, not chosen on the test folds
BASELINES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[], Any]]] = {
    "log_mel_svm": (_log_mel_statistics, _svm),
    "log_mel_forest": (_log_mel_statistics, _forest),
    "mfcc_svm": (_mfcc_statistics, _svm),
    "mfcc_forest": (_mfcc_statistics, _forest),
}


def cross_validated(name: str, sounds: SoundSet) -> list[tuple[Clip, int]]:
    """Each clip with the class that a baseline gives it, learnt from the other folds."""
    describe, make = BASELINES[name]
    clips = list(sounds.clips)
    features = np.stack([describe(sound) for sound in read_clips(clips, SAMPLE_RATE_HZ)])
    folds, labels = np.array([clip.fold for clip in clips]), np.array([clip.label for clip in clips])
    answers = np.empty(len(clips), int)
    for fold in sounds.folds:
        test = folds == fold
        answers[test] = make().fit(features[~test], labels[~test]).predict(features[test])
    return list(zip(clips, answers.tolist(), strict=True))
