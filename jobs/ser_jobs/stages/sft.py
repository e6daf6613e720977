"""The stage `sft`: fine-tune the policy on the chosen answers of the seed, with its dev part where the run is cross-fitted.

It uses no label outside the label budget.
"""

from ser_core.api.stage import SupervisedMetrics
from ser_core.data.tables import SupervisedStep, write_table
from ser_core.errors import SpecError
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.policy.policy import load_causal
from ser_core.learn.policy.supervised import count_steps, digest, encode_demonstrations, fine_tune
from ser_core.learn.weights.exports import store
from ser_core.store.stages.model_folder import MODEL
from ser_jobs.process.context import StageContext, StageOutput
from ser_jobs.training.computing import set_up
from ser_jobs.training.labeled import labeled
from ser_jobs.training.memory_check import planned_sharding, refuse_what_does_not_fit
from ser_jobs.training.model_output import base_files, model_files
from ser_jobs.training.policy.policy_inputs import policy_spec, start_of_policy, starting_policy
from ser_jobs.training.policy.policy_progress import SupervisedProgress


def body(context: StageContext) -> StageOutput | None:
    """Write the fine-tuned policy and its losses. Rank 0 returns the output; the other ranks return None.

    Raises:
        DataError: The seed has no training pair, or a prompt has no tokens.
        SpecError: The policy cannot be loaded.
        QualityError: The loss or its gradient is not finite.
        Interrupted: The stage was asked to stop; a checkpoint was saved.
    """
    policy = policy_spec(context)
    if policy.sft is None:
        raise SpecError("policy.sft is null, but the stage is sft", hint="let ser run or the operator start the stages")
    precision = set_up(context, policy.precision)
    base = starting_policy(context)
    plan = refuse_what_does_not_fit(context, {"policy": base})
    learnt = labeled(context)
    training = context.spec.spec.training
    with process_group():
        context.silent("loading the policy")
        network, tokenizer = load_causal(
            base,
            precision,
            adapter=policy.adapter,
            seed=training.seed,
            template=policy.template,
            template_text=policy.custom_text,
        )
        rows = encode_demonstrations(
            tokenizer,
            [pair.prompt for pair in learnt],
            [pair.chosen for pair in learnt],
            prompt_tokens=policy.prompt_tokens,
            answer_tokens=policy.answer_tokens,
        )
        progress = SupervisedProgress(context, count_steps(len(rows), policy.sft), precision.device, digest(rows))
        losses = fine_tune(
            network,
            rows,
            policy.sft,
            precision,
            tokens_per_batch=context.tokens_per_batch,
            seed=training.seed,
            watch=progress,
            resume=progress.resume(),
            sharding=planned_sharding(plan),
        )
        context.silent("writing the policy")
        store(network, tokenizer, context.workdir / MODEL, base=base, products=precision.autocast, half=False)  # PPO trains on it
        progress.finish()
    if context.rank > 0:
        return None
    metrics = SupervisedMetrics(
        steps=len(losses),
        answers=len(rows),
        truncated=sum(row.truncated for row in rows),
        first_loss=losses[0],
        last_loss=losses[-1],
    )
    steps = context.workdir / "sft.parquet"
    write_table(steps, SupervisedStep, (SupervisedStep(number, loss) for number, loss in enumerate(losses, 1)))
    return StageOutput({"sft.parquet": steps} | model_files(context.workdir), metrics, base_files(context, *start_of_policy(context)))
