"""What the stages of the policy read: which policy they start from, and which prompts."""

from pathlib import Path

from ser_core.api.policy import PolicySpec
from ser_core.api.stage import InputRole
from ser_core.data.tables import LabeledPair, PolicyPrompt, PoolPair, read_table
from ser_core.errors import DataError, SpecError
from ser_jobs.process.context import StageContext

HELDOUT_PROMPTS = 128
"""Prompts that a policy is measured on, at most: their mean score is known to about a tenth of the scores' spread."""


def policy_spec(context: StageContext) -> PolicySpec:
    """The run's policy.

    Raises:
        SpecError: There is none.
    """
    spec = context.spec.spec.policy
    if spec is None:
        raise SpecError("spec.policy is null, and the stage aligns a policy", hint="stages are started by ser run or the operator")
    return spec


def starting_policy(context: StageContext) -> Path:
    """Folder of the policy that the stage starts from: the fine-tuned one where there is one, else the base."""
    if InputRole.POLICY in context.inputs:
        return context.fetch_folder(InputRole.POLICY, "model")
    return context.fetch_folder(InputRole.PREPARED, "policy")


def learnt_prompts(context: StageContext) -> list[str]:
    """Distinct prompts to learn on: those of `policy.prompts`, else those of the pool."""
    if context.has(InputRole.PREPARED, "prompts.parquet"):
        return [row.prompt for row in read_table(context.fetch(InputRole.PREPARED, "prompts.parquet"), PolicyPrompt)]
    pool = read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    return list(dict.fromkeys(pair.prompt for pair in pool))


def heldout_prompts(context: StageContext) -> list[str]:
    """The first distinct prompts of the held-out pairs; nothing is learnt on them.

    Raises:
        DataError: There is none.
    """
    pairs = read_table(context.fetch(InputRole.PREPARED, "heldout.parquet"), LabeledPair)
    found = list(dict.fromkeys(pair.prompt for pair in pairs))[:HELDOUT_PROMPTS]
    if not found:
        raise DataError("there is no held-out prompt to measure the policy on", reason="NoPairs", hint="give more data")
    return found
