"""An exported policy samples as it was measured, for who reads its generation config."""

import json

from transformers import GenerationConfig
from unit.learn.sentencepiece_like import policy

from ser_core.report.told_sampling import tell_sampling


def test_a_policy_is_sampled_at_its_temperature_without_the_penalties_of_its_base(tmp_path):
    folder = policy(tmp_path / "policy", "first")
    of_the_base = {"repetition_penalty": 1.1, "min_p": 0.2, "no_repeat_ngram_size": 1, "temperature": 0.3}
    own = of_the_base | {"eos_token_id": [2, 5], "pad_token_id": -1}
    (folder / "generation_config.json").write_text(json.dumps(own))
    tell_sampling(folder, 0.7)
    GenerationConfig.from_pretrained(folder).validate(strict=True)
    told = json.loads((folder / "generation_config.json").read_text())
    assert told == {"eos_token_id": [2, 5], "do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 1.0}


def test_a_stored_file_is_not_written_into(tmp_path):
    folder = policy(tmp_path / "policy", "first")
    (tmp_path / "stored.json").hardlink_to(folder / "generation_config.json")
    before = (tmp_path / "stored.json").read_text()
    tell_sampling(folder, 0.7)
    assert (tmp_path / "stored.json").read_text() == before
