"""Settings: groups that stand alone, one flat whole for flags and config.json, and every range refused by its name."""

import dataclasses
import math
from typing import Any

import pytest

from unreel.errors import InputError
from unreel.settings import (
    DataSettings,
    DistributedSettings,
    NetworkSettings,
    OptimisationSettings,
    RuntimeSettings,
    Settings,
    make_single_machine_settings,
)

GROUPS = (NetworkSettings, DataSettings, OptimisationSettings, RuntimeSettings)


def names(group: type) -> list[str]:
    return [field.name for field in dataclasses.fields(group)]


def test_settings_are_their_groups_and_no_name_is_in_two() -> None:
    assert sorted(names(Settings)) == sorted(name for group in GROUPS for name in names(group))
    assert set(names(DistributedSettings)) < set(names(RuntimeSettings))
    assert all(isinstance(Settings(), group) for group in (*GROUPS, DistributedSettings))


def test_the_names_are_those_of_saved_runs() -> None:
    saved = (
        "backbone backbone_options width init size num_frames fps stride_frames short segment_s batch_size "
        "clips_at_once draws_per_video epochs steps minutes optimizer lr momentum weight_decay decay_all schedule "
        "drops drop_factor warmup warmup_epochs seed workers batches_ahead file_limit_s cache_mb threads device "
        "devices shard "
        "silence_limit_s precision channels_last compile fused read_back sync_batch_norm held_out "
        "monitor_epochs best_checkpoint checkpoint_minutes log_steps wandb max_bad_share"
    )
    assert set(names(Settings)) == set(saved.split())


def test_settings_come_back_from_what_is_saved() -> None:
    settings = make_single_machine_settings(seed=3, devices=2)
    assert Settings(**dataclasses.asdict(settings)) == settings


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_has_the_values_of_the_whole(group: Any) -> None:
    whole = Settings()
    assert all(getattr(group(), name) == getattr(whole, name) for name in names(group))


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        (DataSettings, {"batch_size": 0}, "batch_size must lie between 1 and 65536, got 0"),
        (DataSettings, {"fps": 5.0}, "set either fps or stride_frames"),
        (DataSettings, {"held_out": 1.0}, "held_out must be below 1"),
        (DataSettings, {"draws_per_video": 3}, "draws_per_video must divide the batch"),
        (DataSettings, {"workers": -2}, "workers must lie between -1 and 1024, got -2"),
        (DataSettings, {"segment_s": math.nan}, "segment_s must be at least 0 and finite, got nan"),
        (NetworkSettings, {"width": 0}, "width must lie between 1 and 64, got 0"),
        (OptimisationSettings, {"lr": 0.0}, "lr must be above 0 and finite, got 0.0"),
        (OptimisationSettings, {"lr": 1e23}, "lr must lie between 0 and 10000, got 1e+23"),
        (OptimisationSettings, {"steps": 10**23}, "steps must lie between 0 and 1e+12, got 1"),
        (OptimisationSettings, {"weight_decay": math.inf}, "weight_decay must be at least 0 and finite, got inf"),
        (OptimisationSettings, {"drops": (0.5, 1.5)}, "drops are shares of the run"),
        (OptimisationSettings, {"seed": -1}, "seed must lie between 0 and"),
        (DistributedSettings, {"devices": 0}, "devices must lie between 1 and 1024, got 0"),
        (RuntimeSettings, {"devices": 0}, "devices must lie between 1 and 1024, got 0"),
        (RuntimeSettings, {"log_steps": 0}, "log_steps must be at least 1 and finite, got 0"),
    ],
)
def test_a_range_is_checked_by_the_group_and_by_the_whole(group: Any, values: dict[str, Any], message: str) -> None:
    for kind in (group, Settings):
        with pytest.raises(InputError) as refused:
            kind(**values)
        assert message in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shard": "on", "compile": "on"}, "compile on can't be used with shard on; leave --compile at auto"),
        ({"shard": "on", "read_back": "each-log"}, "read_back each-log can't be used with shard on"),
        ({"fused": "on", "optimizer": "lars"}, "fused updates exist for sgd and adamw, not for lars"),
        ({"read_back": "each-log", "fused": "off"}, "--read-back each-log needs an optimiser"),
    ],
)
def test_switches_that_exclude_each_other(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        Settings(**values)
    assert message in str(refused.value)
