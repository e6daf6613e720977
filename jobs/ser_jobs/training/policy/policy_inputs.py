"""The inputs of the stages `sft` and `ppo`: the policy that they start from, and the prompts."""

from pathlib import Path

from ser_core.api.spec.policy import PolicySpec
from ser_core.api.stage import InputRole
from ser_core.data.tables import LabeledPair, PolicyPrompt, PoolPair, read_table
from ser_core.errors import DataError, SpecError
from ser_core.store.stages.model_folder import MODEL
from ser_jobs.process.context import StageContext

HELDOUT_PROMPTS = 128
"""Most prompts that a policy is evaluated on. The standard error of their mean score is about a tenth of the scores' deviation."""


def policy_spec(context: StageContext) -> PolicySpec:
    """The field `policy` of the run's spec.

    Raises:
        SpecError: The run has no policy.
    """
    spec = context.spec.spec.policy
    if spec is None:
        raise SpecError("spec.policy is null, but the stage needs a policy", hint="let ser run or the operator start the stages")
    return spec


def start_of_policy(context: StageContext) -> tuple[InputRole, str]:
    """Input and folder of the policy that the stage starts from: the fine-tuned policy if there is one, else the base."""
    return (InputRole.POLICY, MODEL) if InputRole.POLICY in context.inputs else (InputRole.PREPARED, "policy")


def starting_policy(context: StageContext) -> Path:
    """Local copy of the policy that the stage starts from."""
    return context.fetch_folder(*start_of_policy(context))


def training_prompts(context: StageContext) -> list[str]:
    """The distinct prompts that the policy learns on: those of `policy.prompts` if the run has that field, else those of the pool."""
    if context.has(InputRole.PREPARED, "prompts.parquet"):
        return [row.prompt for row in read_table(context.fetch(InputRole.PREPARED, "prompts.parquet"), PolicyPrompt)]
    pool = read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    return list(dict.fromkeys(pair.prompt for pair in pool))


def heldout_prompts(context: StageContext) -> list[str]:
    """The first distinct prompts of the held-out pairs. No stage learns on them.

    Raises:
        DataError: There is no held-out prompt.
    """
    pairs = read_table(context.fetch(InputRole.PREPARED, "heldout.parquet"), LabeledPair)
    found = list(dict.fromkeys(pair.prompt for pair in pairs))[:HELDOUT_PROMPTS]
    if not found:
        raise DataError("there is no held-out prompt to evaluate the policy on", reason="NoPairs", hint="give more held-out pairs")
    return found
