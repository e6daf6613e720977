"""Model folders that nobody thought of: all weights come from the file, or the folder is refused with a reason, and never a traceback."""

import json
from contextlib import suppress

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from safetensors import SafetensorError
from safetensors.torch import load_file
from unit.learn.broken_models import WEIGHTS, change_weights, copy_of

from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import check_base_model
from ser_core.errors import SpecError
from ser_core.learn.base_models.trial import try_reward_model
from ser_core.learn.reward.reward_model import load

odd = some.none() | some.booleans() | some.integers(-2, 300) | some.floats(-1, 1e9) | some.text(max_size=6) | some.just([]) | some.just({})
SETTINGS = ("config.json", "tokenizer_config.json", "generation_config.json")
FILES = (*SETTINGS, "tokenizer.json", WEIGHTS)


def set_field(data, folder):
    file = folder / data.draw(some.sampled_from(SETTINGS))
    content = json.loads(file.read_text()) if file.exists() else {}
    name = data.draw(some.sampled_from([*sorted(content), "is_decoder", "rope_parameters", "auto_map", "quantization_config", "pad_token"]))
    file.write_text(json.dumps({**content, name: data.draw(odd)}))


def damage(data, folder):
    file = folder / data.draw(some.sampled_from(FILES))
    content = file.read_bytes() if file.exists() else b""
    place = data.draw(some.integers(0, min(len(content), 3000)))
    file.write_bytes(content[:place] + data.draw(some.binary(max_size=4)) + content[place + data.draw(some.sampled_from([0, 1, 10**9])) :])


def remove(data, folder):
    (folder / data.draw(some.sampled_from(FILES))).unlink(missing_ok=True)


def rename_tensors(data, folder):
    old, new = data.draw(
        some.sampled_from([("model.", "module."), ("layers.1.", "layers.2."), ("mlp", "ffn"), ("", "x."), ("q_proj", "k_proj")])
    )
    change_weights(folder, lambda weights: {name.replace(old, new, 1): one for name, one in weights.items()})


def change_tensors(data, folder):
    change = data.draw(
        some.sampled_from(
            [lambda one: one[:0], lambda one: one[..., :-1], lambda one: one.half(), lambda one: one.long(), lambda one: one.mT]
        )
    )
    part = data.draw(some.sampled_from(["layers.0", "layers.1", "mlp", "norm", "embed", "proj.weight"]))
    change_weights(folder, lambda weights: {name: change(one).contiguous() if part in name else one for name, one in weights.items()})


def drop_tensors(data, folder):
    part = data.draw(some.sampled_from(["layers.0", "layers.1", "mlp", "norm", "embed", "bias", "up_proj"]))
    change_weights(folder, lambda weights: {name: one for name, one in weights.items() if part not in name})


CHANGES = (set_field, damage, remove, rename_tensors, change_tensors, drop_tensors)


def refused_or_tried(folder, trial):
    """Parts that start at random; None where the folder is refused."""
    spec = RewardModelSpec(base=f"file://{folder}", max_length=32)
    try:
        base = check_base_model(spec, Access(StorageSpec(uri=f"file://{folder}"), HubSpec()), trial / "base")
        return try_reward_model(base, spec, trial / "trial").new
    except SpecError as error:
        assert error.reason and error.hint and error.message
        return None


@given(data=some.data(), changes=some.lists(some.sampled_from(CHANGES), min_size=1, max_size=2))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_weights_come_from_the_file_or_the_folder_is_refused(data, changes, qwen, fp32, tmp_path_factory):
    place = tmp_path_factory.mktemp("odd")
    folder = copy_of(qwen, place)
    for change in changes:
        with suppress(OSError, ValueError, RuntimeError, SafetensorError):  # of a file that the change before has broken
            change(data, folder)
    new = refused_or_tried(folder, place)
    if new is None:
        return
    try:
        network = load(folder, fp32, max_length=32).network
    except SpecError as error:
        assert error.hint
        return
    file = [one.float() for one in load_file(folder / WEIGHTS).values()]
    for name, weight in network.named_parameters():
        if not name.startswith(new):
            assert any(torch.equal(one, rows_of(weight, one)) for one in file), name


def rows_of(weight, one):
    """As many rows as the file has: tokens that it has no row for get one of their own."""
    return weight[: len(one)] if weight.ndim == 2 and len(one) == 257 else weight
