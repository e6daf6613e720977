"""The cluster of the end-to-end tests behaves as a real one does, where our tests rely on it."""

import json
import time

import pytest

from controlplane.cluster import ApiError, Outcome, ProcessKubelet
from controlplane.plane.workspace import Workspace

MESSAGE = "/dev/termination-log"


@pytest.fixture
def work(control_plane, kubelet, namespace):
    return Workspace(control_plane, namespace)


def terminated(pod):
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def test_a_job_completes_with_the_message_of_its_process(work):
    work.python("good", "import os; open(os.environ['OUT'], 'w').write('all is well')", env={"OUT": MESSAGE})
    work.condition("good", "Complete")
    (pod,) = work.pods("good")
    assert pod["status"]["phase"] == "Succeeded"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"], terminated(pod)["message"]) == (0, "Completed", "all is well")


def test_a_job_fails_with_the_exit_code_of_its_process(work, kubelet):
    code = "import os, sys; print('on the log'); open(os.environ['OUT'], 'w').write('x' * 5000 + 'end'); sys.exit(7)"
    work.python("bad", code, env={"OUT": MESSAGE})
    assert work.condition("bad", "Failed")["reason"] == "BackoffLimitExceeded"
    (pod,) = work.pods("bad")
    assert pod["status"]["phase"] == "Failed"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (7, "Error")
    assert len(terminated(pod)["message"]) == 4096
    assert terminated(pod)["message"].endswith("xend")
    assert kubelet.logs(work.name, pod["metadata"]["name"]) == "on the log\n"


def test_a_job_fails_at_once_on_an_exit_code_that_its_policy_names(work):
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [11]}}
    work.python("final", "raise SystemExit(11)", job={"backoffLimit": 3, "podFailurePolicy": {"rules": [rule]}})
    assert work.condition("final", "Failed")["reason"] == "PodFailurePolicy"


CATCH = """
import os, signal, sys, time
def end(*_):
    open(os.environ['OUT'], 'w').write('saved')
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print('ready', flush=True)
time.sleep(600)
"""


def scratch():
    """A pod with an empty folder at /work."""
    return {
        "pod": {"volumes": [{"name": "work", "emptyDir": {}}]},
        "container": {"volumeMounts": [{"name": "work", "mountPath": "/work"}]},
    }


def test_deleting_a_pod_ends_its_process_with_sigterm_and_keeps_its_last_words(work, kubelet):
    work.python("stop", CATCH, env={"OUT": MESSAGE})
    pod = work.pod_in("stop", "Running")
    work.wait(lambda: "ready" in kubelet.logs(work.name, pod["metadata"]["name"]))
    work.plane.api().delete(work.path("jobs", "stop"), {"propagationPolicy": "Foreground"})
    last = work.last_seen(pod)
    assert last["status"]["phase"] == "Failed"
    assert (terminated(last)["exitCode"], terminated(last)["message"]) == (143, "saved")


def test_a_pod_that_the_cluster_takes_away_ends_its_job(work, kubelet):
    rule = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    work.python("evicted", "import time; time.sleep(60)", job={"podFailurePolicy": {"rules": [rule]}, "podReplacementPolicy": "Failed"})
    first = work.pod_in("evicted", "Running")["metadata"]
    kubelet.mark_disrupted(work.name, first["name"])
    said = lambda: work.plane.api().get(work.path("jobs", "evicted"))["status"].get("conditions", ())  # noqa: E731
    ended = work.wait(lambda: [one for one in said() if one["type"] == "Failed"])
    assert ended[0]["reason"] == "PodFailurePolicy"
    assert {pod["metadata"]["uid"] for pod in work.pods("evicted")} <= {first["uid"]}  # no other takes its place


def test_a_pod_that_asks_for_more_gpus_than_there_are_waits_in_the_words_of_the_scheduler(work):
    work.python("greedy", "pass", container={"resources": {"limits": {"nvidia.com/gpu": "16"}}})
    pod = work.wait(lambda: next((pod for pod in work.pods("greedy") if pod["status"].get("conditions")), None))
    (condition,) = pod["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in condition["message"]
    assert "Insufficient nvidia.com/gpu" in work.event(pod["metadata"]["name"], "FailedScheduling")["message"]


def test_a_pod_waits_for_its_secret_and_then_reads_it(work):
    code = "import os; open(os.environ['OUT'], 'w').write(open(os.environ['KEYS'] + '/user').read())"
    volumes = [{"name": "keys", "secret": {"secretName": "later"}}]
    mounts = [{"name": "keys", "mountPath": "/etc/keys", "readOnly": True}]
    work.python("secretive", code, env={"OUT": MESSAGE, "KEYS": "/etc/keys"}, pod={"volumes": volumes}, container={"volumeMounts": mounts})
    (pod,) = work.wait(lambda: work.pods("secretive"))
    event = work.event(pod["metadata"]["name"], "FailedMount")
    assert event["message"] == 'MountVolume.SetUp failed for volume "keys" : secret "later" not found'
    (pod,) = work.pods("secretive")
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    work.plane.api().create(work.path("secrets"), {"metadata": {"name": "later"}, "stringData": {"user": "ada"}})
    work.condition("secretive", "Complete")
    assert terminated(work.pods("secretive")[0])["message"] == "ada"


def test_a_quota_refuses_pods_in_an_event_of_the_job(work):
    work.plane.api().create(work.path("resourcequotas"), {"metadata": {"name": "few"}, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}})
    used = lambda: "used" in work.plane.api().get(work.path("resourcequotas", "few"))["status"]  # noqa: E731
    work.wait(used)
    work.python("refused", "pass", container={"resources": {"limits": {"nvidia.com/gpu": "2"}}})
    said = work.event("refused", "FailedCreate")["message"]
    assert "exceeded quota: few, requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=0, limited: " in said


def test_what_kubernetes_expands_in_a_variable_arrives_expanded(work):
    code = "import json, os; open(os.environ['OUT'], 'w').write(json.dumps(dict(os.environ)))"
    fields = [
        {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['color']"}}},
    ]
    plain = {"OUT": MESSAGE, "A": "one", "B": "$(A) and $$(A) and $(NONE) $", "C": "/work/below", "D": "$(LATER)", "LATER": "x"}
    more = scratch()
    more["container"]["env"] = [*({"name": key, "value": value} for key, value in plain.items()), *fields]
    work.python("expanded", code, labels={"color": "blue"}, **more)
    work.condition("expanded", "Complete")
    (pod,) = work.pods("expanded")
    found = json.loads(terminated(pod)["message"])
    assert found["B"] == "one and $(A) and $(NONE) $"
    assert found["C"].endswith("/work/below")
    assert found["C"] != "/work/below"
    assert found["D"] == "$(LATER)"
    assert found["E"] == pod["status"]["podIP"]
    assert found["F"] == "blue"
    assert "PYTEST_CURRENT_TEST" not in found


def test_the_kubelet_goes_on_after_the_api_server_was_killed(work):
    path = {"OUT": MESSAGE}
    code = "import os, time; time.sleep(1); open(os.environ['OUT'], 'w').write('ended meanwhile')"
    work.python("survivor", code, env=path)
    work.pod_in("survivor", "Running")
    work.plane.kill("apiserver")
    time.sleep(1.2)
    work.plane.start("apiserver")
    work.condition("survivor", "Complete")
    assert terminated(work.pods("survivor")[0])["message"] == "ended meanwhile"
    work.python("next", "pass")
    work.condition("next", "Complete")


def test_controllers_and_scheduler_come_back_after_they_were_killed(work):
    for part in ("controller-manager", "scheduler", "etcd"):
        work.plane.restart(part)
    work.python("after", "pass")
    work.condition("after", "Complete")


def test_a_held_pod_runs_until_it_is_released(work, kubelet):
    with kubelet.hold({"held": "yes"}) as gate:
        work.python("held", "pass", labels={"held": "yes"})
        gate.wait_for_pod()
        work.pod_in("held", "Running")
        time.sleep(0.5)
        work.pod_in("held", "Running")
    work.condition("held", "Complete")


def test_a_disconnected_node_says_nothing_until_it_is_back(work, kubelet):
    work.python("far", "import time; time.sleep(60)", pod={"terminationGracePeriodSeconds": 1})
    pod = work.pod_in("far", "Running")
    kubelet.disconnect()
    try:
        work.plane.api().delete(work.path("pods", pod["metadata"]["name"]))
        time.sleep(1.5)
        assert work.pods("far")[0]["status"]["phase"] == "Running"
    finally:
        kubelet.reconnect()
    assert terminated(work.last_seen(pod))["exitCode"] == 143


@pytest.fixture
def another_node(work):
    """A node of its own; taken away again, since no kubelet would run what is bound to it later."""
    work.plane.add_node("doubles")
    yield "doubles"
    work.plane.api().delete("/api/v1/nodes/doubles")


def test_a_hundred_doubles_end(work, another_node, tmp_path):
    names = [f"double-{number}" for number in range(100)]
    play = lambda pod: Outcome(message=f"played {pod.environment['NUMBER']}", delay=0.1)  # noqa: E731
    with ProcessKubelet(work.plane, tmp_path, another_node, double=play):
        for name in names:
            work.job(name, ["never"], env={"NUMBER": name}, pod={"nodeSelector": {"kubernetes.io/hostname": another_node}})
        ended = lambda: [one for one in work.plane.api().items(work.path("jobs")) if one["status"].get("succeeded")]  # noqa: E731
        work.wait(lambda: len(ended()) == len(names), seconds=240)
    assert {terminated(work.pods(name)[0])["message"] for name in names[:3]} == {f"played {name}" for name in names[:3]}


def test_a_service_account_may_do_what_its_role_says_and_no_more(work):
    work.plane.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods", "--namespace", work.name)
    work.plane.kubectl(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={work.name}:default", "--namespace", work.name
    )
    account = work.plane.api(f"{work.name}/default")
    assert work.wait(lambda: _allowed(account, work.path("pods")))
    with pytest.raises(ApiError, match="cannot list resource"):
        account.items(work.path("secrets"))
    users = {event["user"]["username"] for event in work.plane.audit_events()}
    assert f"system:serviceaccount:{work.name}:default" in users


def _allowed(account, path):
    try:
        account.items(path)
        return True
    except ApiError:
        return False


def test_a_pod_that_asks_for_what_a_process_cannot_have_is_refused(work):
    work.python("fancy", "pass", pod={"volumes": [{"name": "there", "configMap": {"name": "any"}}]})
    failed = work.pod_in("fancy", "Failed")
    assert failed["status"]["message"] == "the process kubelet of the tests does not play: volume there of type configMap"


def test_only_one_of_many_writers_creates_an_object(s3):
    s3.create_bucket("race")
    client = s3.client()
    client.put_object(Bucket="race", Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="race", Key="once", Body=b"second", IfNoneMatch="*")
    s3.kill()
    s3.start()
    assert client.get_object(Bucket="race", Key="once")["Body"].read() == b"first"
    client.close()


SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/live' or os.path.exists(os.environ['READY'] + '/yes') else 503)
        self.end_headers()
    def log_message(self, *_): ...
http.server.HTTPServer((os.environ['IP'], 8080), Pages).serve_forever()
"""


def test_a_deployments_pod_is_ready_when_its_probe_says_so_and_is_started_again_when_it_ends(work, control_plane, kubelet, tmp_path):
    probes = {
        name: {"httpGet": {"path": path, "port": "pages"}, "periodSeconds": 1, "failureThreshold": 60}
        for name, path in (("readinessProbe", "/ready"), ("livenessProbe", "/live"))
    }
    container = {
        "name": "main",
        "image": "any",
        "command": ["python", "-c", SERVER],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "READY", "value": str(tmp_path)},
        ],
        "ports": [{"name": "pages", "containerPort": 8080}],
        **probes,
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    path = f"/apis/apps/v1/namespaces/{work.name}/deployments"
    selector = {"matchLabels": {"app": "web"}}
    control_plane.api().create(path, {"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": selector, "template": template}})

    def the_pod(restarts):
        found = control_plane.api().items(work.path("pods"), labelSelector="app=web")
        states = [pod["status"].get("containerStatuses", [{}])[0] for pod in found]
        return next(
            (pod for pod, one in zip(found, states, strict=True) if one.get("restartCount") == restarts and "running" in one["state"]), None
        )

    available = lambda: control_plane.api().get(f"{path}/web")["status"].get("availableReplicas") == 1  # noqa: E731
    pod = work.wait(lambda: the_pod(0))
    assert not available()
    (tmp_path / "yes").touch()
    work.wait(available)
    (account,) = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
    assert account["name"].startswith("kube-api-access-")

    kubelet.kill(work.name, pod["metadata"]["name"])

    assert work.wait(lambda: the_pod(1))["metadata"]["uid"] == pod["metadata"]["uid"]
    work.wait(available)


def test_a_token_of_a_pod_ends_with_its_pod(work, control_plane):
    code = "import os; open(os.environ['OUT'], 'w').write(open(os.environ['ACCOUNT'] + '/token').read())"
    volume = {"name": "account", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}}
    mount = {"name": "account", "mountPath": "/account"}
    environment = {"OUT": MESSAGE, "ACCOUNT": "/account"}
    work.python("token", code, env=environment, pod={"volumes": [volume]}, container={"volumeMounts": [mount]})
    pod = work.pod_in("token", "Succeeded")

    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": terminated(pod)["message"]}}
    told = lambda: control_plane.api().create("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]  # noqa: E731
    assert told()["user"]["username"] == f"system:serviceaccount:{work.name}:default"
    control_plane.api().delete(work.path("pods", pod["metadata"]["name"]))
    work.wait(lambda: not told().get("authenticated"), seconds=180)
