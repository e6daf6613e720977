"""From `kubectl apply` to an aligned policy: every stage a pod of the stage image, everything in S3."""


def test_a_run_with_sft_and_ppo_is_completed(whole):
    """Expected: Completed; seven stages, each done by its first attempt, nothing charged."""
    status = whole.end()

    assert status["phase"] == "Completed", whole.told()
    assert [row["iteration"] for row in status["iterations"]] == [0, 1]
    assert status["policy"]["steps"] == 6
    assert [row for row in status["stages"] if row.get("charged") or row["attempt"] > 1] == []
