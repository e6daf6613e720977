"""Of the spec, the models and the hub (ser_core.data, ser_core.learn, ser_jobs)."""

from ser_core.cli.views.remedies.remedy import Remedy, Then

SPEC = (
    Remedy(("SpecError",), "the SERRun cannot be carried out as it is written", "correct the field that the message names", Then.ANEW),
    Remedy(
        ("ModelNotFound",),
        "the base model is not where the spec says",
        "put the model where rewardModel.base or policy.base says; or name another in another run",
    ),
    Remedy(
        ("RunNotFound",),
        "the store holds no run that spec.from means, in this namespace and under this storage.uri",
        "name one that is there in another run, or none",
        Then.ANEW,
    ),
    Remedy(
        (
            "BadModelConfig",
            "BadWeights",
            "MissingShard",
            "NoTokenizer",
            "NoSafetensors",
            "RemoteCode",
            "ModelNotSupported",
        ),
        "the base model cannot be used as it is",
        "do what the message says to the files of the model; or name another model in another run",
    ),
    Remedy(
        ("MissingPackage",),
        "the stage image lacks a package that the spec needs",
        "ask the administrator for a stage image that has what the message names",
        here="install what the message names",
    ),
    Remedy(
        ("GeneratorRefused", "GeneratorOutOfStep"),
        "vLLM cannot sample this policy's answers, or it used other weights than the current ones",
        "use policy.generator: transformers",
        Then.ANEW,
    ),
    Remedy(
        ("CriticNotSupported",),
        "neither the reward model nor the policy can be the critic of PPO",
        "use policy.advantage: rloo, which needs none",
        Then.ANEW,
    ),
    Remedy(("MaxLengthTooLarge",), "rewardModel.maxLength is longer than the model can read", "lower rewardModel.maxLength", Then.ANEW),
    Remedy(
        ("TokenInClear",),
        "the hub's endpoint is http://, and a token would be read on its way",
        "set hub.endpoint to an https:// one, or leave hub.credentialsSecret out",
        Then.ANEW,
        here="set hub.endpoint, or HF_ENDPOINT, to an https:// one; or have no token: unset HF_TOKEN, and hf auth logout",
    ),
    Remedy(
        ("HubClientMissing",),
        "huggingface_hub is not installed where the stages run",
        "let the stage image be that of the operator's version",
        here="install what the message names",
    ),
    Remedy(
        ("HubAccessDenied",),
        "the hub refuses access: the model or data set is gated or private",
        "accept its conditions, and put HF_TOKEN into what hub.credentialsSecret names; if it names nothing, make a new run that does",
        here="accept its conditions, and set HF_TOKEN to a token of that account; for a hub of your own set HF_ENDPOINT to it too",
    ),
    Remedy(
        ("HubRedirectRefused",),
        "the hub redirects into a private network, to this machine or to a link-local address, where it does not lie itself",
        "set hub.endpoint to a hub in that network, or name another repository",
        Then.ANEW,
        here="set hub.endpoint, or HF_ENDPOINT, to a hub in that network, or name another repository",
    ),
    Remedy(
        ("HubUnavailable",),
        "the hub cannot be reached from the stage, is too slow or too busy, or sends other files than it declares",
        "let the stage prepare reach it: the run tries again by itself; or set hub.endpoint to a mirror in another run",
        here="see whether this machine reaches it: the run tries again by itself; or end ser run and set HF_ENDPOINT to a mirror",
    ),
    Remedy(
        ("UnevenShares",),
        "the work of a step cannot be divided evenly among the stage's processes",
        "change resources.{resources}.nodes or gpus; the run then goes on",
        Then.ITSELF,
    ),
    Remedy(
        ("WorldSizeChanged",),
        "the checkpoint was written by a different number of processes",
        "give resources.{resources} as many nodes and GPUs as before; the run then goes on",
        Then.ITSELF,
    ),
    Remedy(
        ("CheckpointIncomplete", "CheckpointsDiffer"),
        "the processes of a stage did not leave one common checkpoint",
        "look at its log: ser logs; if it fails again, remove the stage's folder checkpoints in the store, so that it begins anew",
    ),
)
