from __future__ import annotations

import shutil

import numpy as np
import pytest

from neurips16.training.data.audio import read_waveform
from neurips16.training.data.esc50.reader import read_clips, read_sound_set
from neurips16.training.errors import DataError


def test_targets_are_counted_in_the_order_of_the_sets_numbers(sound_folder):
    sounds = read_sound_set(sound_folder)
    assert sounds.labels == ("low tone", "clicks", "noise")
    assert sounds.targets == (3, 12, 41)
    assert sounds.folds == [1, 2, 3]
    assert len(sounds.clips) == 18
    for fold in sounds.folds:
        assert len(sounds.within(fold)) == 6
        assert {clip.fold for clip in sounds.without(fold)} == set(sounds.folds) - {fold}
    for clip in sounds.clips:
        assert clip.path.stem.endswith(f"-{sounds.targets[clip.label]}")
    assert {len(sound) for sound in read_clips(list(sounds.clips[:3]), 22_050)} == {44_100}


def test_wrong_sets(sound_folder, tmp_path):
    folder = shutil.copytree(sound_folder, tmp_path / "set")
    with pytest.raises(DataError, match=r"meta/esc50\.csv and audio/"):
        read_sound_set(folder / "audio")
    victim = next((folder / "audio").iterdir())
    victim.unlink()
    with pytest.raises(DataError, match=f"names 1 files that are not there, the first is .*{victim.name}"):
        read_sound_set(folder)
    (folder / "meta/esc50.csv").write_text("filename,fold\na.wav,1\n")
    with pytest.raises(DataError, match="no table with the columns category, filename, fold, target"):
        read_sound_set(folder)
    (folder / "meta/esc50.csv").write_text("filename,fold,target,category\na.wav,one,2,dog\n")
    with pytest.raises(DataError, match="whole numbers"):
        read_sound_set(folder)


def test_sounds_that_are_none(tmp_path):
    import soundfile

    with pytest.raises(DataError, match="cannot be read as audio"):
        read_waveform(tmp_path / "none.wav", 22_050)
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(DataError, match="cannot be read as audio"):
        read_waveform(tmp_path / "text.wav", 22_050)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 22_050)
    with pytest.raises(DataError, match="no samples"):
        read_waveform(tmp_path / "empty.wav", 22_050)


def test_channels_are_mixed_and_rates_changed(tmp_path):
    import soundfile

    time = np.arange(48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 48_000, subtype="FLOAT")
    sound = read_waveform(tmp_path / "a.wav", 22_050)
    assert sound.dtype == np.float32
    assert len(sound) == 22_050
    want = 0.25 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)
    np.testing.assert_allclose(sound[2000:-2000], want[2000:-2000], atol=1e-3)


@pytest.mark.data
def test_the_real_set(real_sounds):
    sounds = read_sound_set(real_sounds)
    assert sounds.labels[:3] == ("dog", "rooster", "rain")
    assert sounds.targets == (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)
    for fold in sounds.folds:
        assert np.bincount([clip.label for clip in sounds.within(fold)]).tolist() == [8] * 10
    assert len(read_waveform(sounds.clips[0].path, 22_050)) == 110_250
