"""Audio: decoded safely, resampled, cut into windows, encoded."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest

from isthmus.encoders import load_encoder
from isthmus.encoders.audio import Waveform, Windows, open_audio, resample
from isthmus.encoders.decoding import check_decoded
from isthmus.errors import (
    InvalidAudio,
    InvalidInput,
    InvalidMedia,
    MissingDependency,
    UnknownEncoder,
)
from tests.encoders import models
from tests.encoders.sounds import file_of, noise, sine, written

SOUND = noise(0.5, 44_100)


@pytest.fixture(scope="module")
def clap(encoder_of, folder_of):
    return encoder_of(f"clap/{folder_of(models.clap_folder)}")


@pytest.fixture(scope="module")
def wav2vec2(encoder_of, folder_of):
    return encoder_of(f"transformers/{folder_of(models.wav2vec2_folder)}")


# Decoding


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "FLOAT", 0),
        ("WAV", "PCM_16", 2**-14),
        ("RF64", "PCM_24", 2**-22),
        ("W64", "FLOAT", 0),
        ("FLAC", "PCM_16", 2**-14),
        ("AIFF", "PCM_16", 2**-14),
        ("CAF", "PCM_16", 2**-14),
        ("AU", "PCM_16", 2**-14),
    ],
)
def test_files_give_the_samples_that_were_written(kind, subtype, tolerance):
    opened = open_audio(file_of(SOUND, kind, subtype))
    assert (opened.rate, opened.samples.dtype, opened.seconds) == (44_100, np.float32, 0.5)
    np.testing.assert_allclose(opened.samples, SOUND.samples, atol=tolerance)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_files_give_nearly_the_samples_that_were_written(kind, subtype):
    opened = open_audio(file_of(sine(440, 1.0, 48_000), kind, subtype))
    decoded, expected = (sound.samples[4_800:43_200] for sound in (opened, sine(440, 1.0, 48_000)))
    assert opened.rate == 48_000
    assert abs(np.corrcoef(decoded, expected)[0, 1]) > 0.999


def test_channels_are_averaged():
    left, right = noise(0.2, seed=1).samples, noise(0.2, seed=2).samples
    opened = open_audio(written(np.stack([left, right], axis=1), 16_000))
    np.testing.assert_allclose(opened.samples, (left + right) / 2, atol=1e-7)


def test_a_file_is_read_in_blocks(monkeypatch):
    monkeypatch.setattr("isthmus.encoders.audio._BLOCK_VALUES", 1_000)
    opened = open_audio(file_of(SOUND, channels=3))
    np.testing.assert_allclose(opened.samples, SOUND.samples, atol=1e-7)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the audio is empty: 0 bytes"),
        (b"nonsense", "not audio in a known format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "not audio in a known format"),
        (b"RIFF" + b"x" * 99, "the audio cannot be decoded: Format not recognised"),
        (b"fLaC" + bytes(99), "the audio cannot be decoded"),
        (b"ID3", "the audio cannot be decoded"),
        (file_of(SOUND)[:5_000], "the audio is cut off"),
        (file_of(SOUND, "FLAC", "PCM_16")[:9_000], "the audio cannot be decoded"),
        (file_of(SOUND, "OGG", "VORBIS")[:3_000], "the audio cannot be decoded|cut off"),
        (file_of(Waveform(np.zeros(0, np.float32), 16_000)), "the audio is empty: 0 samples"),
        (file_of(Waveform(np.zeros(9, np.float32), 16_000)), "the audio is silent"),
        (written(np.float32([0, np.nan, 1]), 16_000), "the audio holds NaN or infinity"),
        (written(np.float32([0, np.inf, 1]), 16_000), "the audio holds NaN or infinity"),
        (written(np.ones(9, np.float32), 500), "has 500 samples a second; from 1000 to 192000"),
        (written(np.ones(9, np.float32), 400_000), "has 400000 samples a second"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # WAV files hold the time
)
def test_the_error_names_what_is_wrong_with_a_file(data, reason):
    with pytest.raises(InvalidAudio, match=reason):
        open_audio(data)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("RF64", "PCM_24"),
        ("W64", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("CAF", "PCM_16"),
        ("AU", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
    ],
)
def test_files_that_are_cut_off_are_refused(kind, subtype, share):
    whole = file_of(noise(2, 48_000), kind, subtype)
    assert open_audio(whole).seconds == pytest.approx(2)
    with pytest.raises(InvalidAudio, match=r"the audio is cut off|the audio cannot be decoded"):
        open_audio(whole[: int(share * len(whole))])


def test_a_file_that_leaves_its_length_open_is_read():
    whole = bytearray(file_of(SOUND, "AU", "FLOAT"))
    whole[8:12] = b"\xff" * 4
    assert open_audio(bytes(whole)).seconds == 0.5


def test_damaged_ogg_pages_are_refused():
    whole = bytearray(file_of(noise(2), "OGG", "VORBIS"))
    whole[len(whole) // 2] ^= 1
    with pytest.raises(InvalidAudio, match="checksums of its pages do not agree"):
        open_audio(bytes(whole))
    assert open_audio(file_of(noise(2), "OGG", "VORBIS") + bytes(99)).seconds == 2


def test_too_long_and_too_large_files_are_refused():
    with pytest.raises(InvalidAudio, match=r"longer than 0\.4 s, the limit"):
        open_audio(file_of(SOUND), max_seconds=0.4)
    with pytest.raises(InvalidAudio, match="has 500 bytes, over the limit of 499"):
        open_audio(bytes(500), max_bytes=499)


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_damaged_file_gives_audio_or_an_error(kind):
    whole = np.frombuffer(file_of(noise(0.1), kind, "PCM_16"), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = whole.copy()
        broken[rng.integers(0, min(len(whole), 200), 4)] = rng.integers(0, 256, 4)
        with contextlib.suppress(InvalidAudio):
            assert np.isfinite(open_audio(broken.tobytes()).samples).all()


def test_a_wav_file_of_unstated_size_is_taken():
    data = bytearray(file_of(SOUND, "WAV", "PCM_16"))
    data[4:8] = b"\xff\xff\xff\xff"
    assert open_audio(bytes(data)).seconds == 0.5


def test_without_soundfile_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingDependency, match=r"soundfile.*pip install 'isthmus\[audio\]'"):
        open_audio(file_of(SOUND))


def test_without_soundfile_no_encoder_of_audio_is_loaded(monkeypatch, folder_of):
    spec = f"clap/{folder_of(models.clap_folder)}"
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[audio\]'"):
        load_encoder(spec, device="cpu")


def test_without_soxr_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert resample(sine(440), 16_000) is not None
    with pytest.raises(MissingDependency, match=r"soxr.*pip install 'isthmus\[audio\]'"):
        resample(sine(440), 8_000)


def test_content_other_than_a_waveform_is_refused():
    with pytest.raises(InvalidMedia, match="a path, bytes or a Waveform, not a list"):
        check_decoded("audio", [0.0, 1.0])
    with pytest.raises(InvalidAudio, match=r"shape \(2, 9\); give one channel"):
        check_decoded("audio", Waveform(np.ones((2, 9), np.float32), 16_000))


# Encoding


def test_a_sine_recorded_at_two_rates_has_nearly_the_same_vector(clap, wav2vec2):
    for encoder in (clap, wav2vec2):
        low, high, other = encoder.encode(
            [sine(440, 0.8), sine(440, 0.8, 48_000), noise(0.8)], "audio"
        )
        assert low @ high > 0.999
        assert low @ high > low @ other


def test_stereo_is_mono(clap):
    mono, stereo = (open_audio(file_of(SOUND, channels=n)) for n in (1, 2))
    vectors = clap.encode([mono, stereo], "audio")
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_windows_cover_a_clip_and_none_is_short():
    clip = np.arange(1_000, dtype=np.float32)
    for length in (*range(1, 12), 399, 400, 401, 999, 1_000, 1_001):
        windows = Windows(length, max(1, length - length // 4)).cut(clip)
        assert {len(window) for window in windows} == {min(length, 1_000)}
        assert set(np.concatenate(windows).tolist()) == set(clip.tolist())


@pytest.mark.parametrize("seconds", [1.0, 1.0001, 1.75, 2.3, 4.0])
def test_a_long_clip_is_the_mean_of_its_windows(clap, seconds):
    clip = noise(seconds)
    last = len(clip.samples) - 16_000
    starts = sorted({*range(0, last, 12_000), last})
    pieces = [Waveform(clip.samples[start : start + 16_000], 16_000) for start in starts]
    mean = clap.encode(pieces, "audio").mean(axis=0)
    (vector,) = clap.encode([clip], "audio")
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_windows_may_be_chosen(encoder_of, folder_of):
    spec = f"clap/{folder_of(models.clap_folder)}"
    encoder = encoder_of(f"{spec}?window=0.5")
    assert encoder.components["audio.windows"] == (
        "8000 samples every 6000, the last at the end; mean at unit norm"
    )
    clip = noise(0.8)
    pieces = [Waveform(clip.samples[at : at + 8_000], 16_000) for at in (0, 12_800 - 8_000)]
    mean = encoder.encode(pieces, "audio").mean(axis=0)
    (vector,) = encoder.encode([clip], "audio")
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    for window in ("2", "0", "-1", "soon", "nan", "inf"):
        with pytest.raises(InvalidInput, match=f"window={window} cannot be used.*up to 1"):
            load_encoder(f"{spec}?window={window}", device="cpu")


@pytest.mark.parametrize("fused", [False, True])
def test_clap_equals_its_model(encoder_of, folder_of, fused):
    import torch
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    folder = folder_of(models.clap_folder, fused=fused)
    encoder = encoder_of(f"clap/{folder}")
    model = ClapModel.from_pretrained(folder).eval()
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    features = extractor(noise(0.7).samples, sampling_rate=16_000, return_tensors="pt")
    words = AutoTokenizer.from_pretrained(folder)(["a red shoe"], return_tensors="pt")
    with torch.inference_mode():
        features["is_longer"] = torch.zeros_like(features["is_longer"])
        heard = model.get_audio_features(**features).pooler_output
        read = model.get_text_features(words["input_ids"], words["attention_mask"]).pooler_output
    assert encoder.modalities == {"text", "audio"}
    np.testing.assert_allclose(encoder.encode([noise(0.7)], "audio"), heard, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(["a red shoe"]), read, atol=1e-5)


def test_one_model_has_one_fingerprint_by_either_name(encoder_of, folder_of):
    folder = folder_of(models.clap_folder)
    one, other = (encoder_of(f"{kind}/{folder}") for kind in ("clap", "transformers"))
    assert one.fingerprint == other.fingerprint


def test_wav2vec2_is_the_mean_of_its_frames(wav2vec2):
    import torch

    samples = noise(0.7).samples
    heard = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.inference_mode():
        hidden = wav2vec2.model(torch.from_numpy(heard)[None]).last_hidden_state[0].numpy()
    mean = hidden.mean(axis=0)
    (vector,) = wav2vec2.encode([noise(0.7)], "audio")
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_whisper_is_the_mean_of_the_frames_that_are_not_padding(encoder_of, folder_of):
    import torch
    from transformers import WhisperFeatureExtractor

    folder = folder_of(models.whisper_folder)
    encoder = encoder_of(f"transformers/{folder}")
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    features = extractor(noise(0.5).samples, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        hidden = encoder.model(features["input_features"]).last_hidden_state[0].numpy()
    mean = hidden[:25].mean(axis=0)  # of 100 frames for two seconds
    (vector,) = encoder.encode([noise(0.5)], "audio")
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_ast_is_its_two_tokens_or_the_mean_of_the_others(encoder_of, folder_of):
    import torch
    from transformers import ASTFeatureExtractor

    folder = folder_of(models.ast_folder)
    extractor = ASTFeatureExtractor.from_pretrained(folder)
    features = extractor(noise(0.5).samples, sampling_rate=16_000, return_tensors="pt")
    for option, tokens in (("", slice(0, 2)), ("?pooling=mean", slice(2, None))):
        encoder = encoder_of(f"transformers/{folder}{option}")
        with torch.inference_mode():
            hidden = encoder.model(**features).last_hidden_state[0].numpy()
        mean = hidden[tokens].mean(axis=0)
        (vector,) = encoder.encode([noise(0.5)], "audio")
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_options_that_do_not_fit_are_refused(folder_of):
    clap = folder_of(models.clap_folder)
    wav2vec2 = folder_of(models.wav2vec2_folder)
    bert = folder_of(models.bert_folder)
    for spec, message in (
        (f"transformers/{clap}?pooling=mean", "its own pooling"),
        (f"clap/{clap}?pooling=mean", "does not take these options"),
        (f"transformers/{wav2vec2}?max_length=9", "max_length is for texts"),
        (f"transformers/{wav2vec2}?pooling=cls", "type wav2vec2 has no cls token"),
        (f"transformers/{bert}?window=2", "window is for audio, and this model encodes text"),
    ):
        with pytest.raises(InvalidInput, match=message):
            load_encoder(spec, device="cpu")
    with pytest.raises(UnknownEncoder, match="is a model of type bert, not CLAP"):
        load_encoder(f"clap/{bert}", device="cpu")
