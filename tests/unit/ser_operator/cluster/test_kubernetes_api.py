"""The adapter against a server of the test's own."""

import asyncio

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from ser_operator.cluster.kubernetes_api import Cluster
from ser_operator.cluster.transport import ApiError

RUN = {
    "apiVersion": "ser.dev/v1alpha1",
    "kind": "SERRun",
    "metadata": {"name": "climb", "namespace": "lab", "uid": "r", "resourceVersion": "5"},
}


def ask(handle, question, refresh_api_key_hook=None):
    """What ``question(cluster)`` gives when ``handle(request)`` answers."""

    async def run():
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
            configuration.refresh_api_key_hook = refresh_api_key_hook
            async with Cluster(configuration, 5) as cluster:
                return await question(cluster)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize("written", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"])
def test_an_answer_that_breaks_off_is_no_answer(written):
    async def break_off(request):
        if written:
            request.transport.write(written)
            await asyncio.sleep(0.05)
        request.transport.close()
        return web.Response()

    with pytest.raises(ApiError) as caught:
        ask(break_off, lambda cluster: cluster.get_run("lab", "climb"))

    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ('{"kind": "Status", "metadata": {}, "message": "Job is invalid: it says \\"no\\"", "code": 422}', 'Job is invalid: it says "no"'),
        ("<html>a proxy", "<html>a proxy"),
        ("[1]", "[1]"),
    ],
)
def test_a_refusal_is_told_in_the_servers_own_words(answered, told):
    async def refuse(request):
        return web.Response(status=422, text=answered, content_type="application/json")

    with pytest.raises(ApiError) as caught:
        ask(refuse, lambda cluster: cluster.get_run("lab", "climb"))

    assert str(caught.value) == f"422 Unprocessable Entity: {told}"


def test_what_others_have_put_into_the_status_is_taken_out_of_the_very_version_that_was_written():
    asked = []

    async def apply(request):
        asked.append((request.content_type, await request.json()))
        left = {} if len(asked) > 1 else {"finishedAt": "2026-01-31T12:00:00Z"}
        return web.json_response({**RUN, "metadata": {"resourceVersion": "6"}, "status": {"phase": "Running", **left}})

    answer = ask(apply, lambda cluster: cluster.apply_status(RUN, {"phase": "Running"}))

    assert answer["status"] == {"phase": "Running"}
    assert [kind for kind, _ in asked] == ["application/apply-patch+yaml", "application/merge-patch+json"]
    assert asked[1][1] == {"metadata": {"resourceVersion": "6"}, "status": {"finishedAt": None}}


def test_a_status_that_is_ours_alone_takes_one_write():
    asked = []

    async def apply(request):
        asked.append(request.method)
        return web.json_response({**RUN, "status": {"phase": "Running"}})

    ask(apply, lambda cluster: cluster.apply_status(RUN, {"phase": "Running"}))

    assert asked == ["PATCH"]


def test_a_refusal_is_told_in_the_servers_words_with_the_pause_it_asks_for():
    async def refuse(_):
        return web.Response(status=429, text="too many", headers={"Retry-After": "7"})

    with pytest.raises(ApiError, match="429 Too Many Requests: too many") as caught:
        ask(refuse, lambda cluster: cluster.get_run("lab", "climb"))

    assert (caught.value.code, caught.value.retry_after) == (429, 7)


def test_a_list_is_read_in_pages_of_one_version_and_cut_to_what_is_kept():
    asked = []

    async def answer(request):
        asked.append(dict(request.query))
        rest = {"continue": "more"} if len(asked) == 1 else {}
        item = {"metadata": {"name": f"j{len(asked)}", "managedFields": [1]}}
        listed = {"kind": "JobList", "apiVersion": "batch/v1", "metadata": {"resourceVersion": "7", **rest}, "items": [item]}
        return web.json_response(listed)

    async def read(cluster):
        return [page async for page in cluster.pages("Job", "lab", "a=b")]

    pages = ask(answer, read)

    assert [page.version for page in pages] == [7, 7]
    assert [one["metadata"] for page in pages for one in page.objects] == [{"name": "j1"}, {"name": "j2"}]
    assert [query.get("continue") for query in asked] == [None, "more"]
    assert all(query["limit"] == "250" and query["labelSelector"] == "a=b" for query in asked)


@pytest.mark.parametrize(("conditions", "policy"), [([], "Foreground"), ([{"type": "Complete", "status": "True"}], "Background")])
def test_a_job_that_runs_is_deleted_once_its_pods_are_gone_and_one_that_has_ended_at_once(conditions, policy):
    asked = []

    async def delete(request):
        asked.append(await request.json())
        return web.json_response({})

    job = {"metadata": {"name": "j", "namespace": "lab", "uid": "u"}, "status": {"conditions": conditions}}
    ask(delete, lambda cluster: cluster.delete_job(job))

    assert asked == [{"propagationPolicy": policy, "preconditions": {"uid": "u"}}]


def test_each_request_bears_the_token_as_it_is_now():
    borne = []

    async def look(request):
        borne.append(request.headers["Authorization"])
        return web.json_response(RUN)

    async def twice(cluster):
        await cluster.get_run("lab", "climb")
        await cluster.get_run("lab", "climb")

    tokens = iter(("first", "second"))
    ask(look, twice, refresh_api_key_hook=lambda configuration: configuration.api_key.update(BearerToken=f"Bearer {next(tokens)}"))

    assert borne == ["Bearer first", "Bearer second"]


def test_workloads_are_read_from_an_older_kueue_too():
    asked = []

    async def old(request):
        asked.append((request.path, request.query["labelSelector"]))
        listed = {"kind": "WorkloadList", "apiVersion": "kueue.x-k8s.io/v1beta1", "items": [{"metadata": {"name": "w"}}]}
        return web.json_response(listed) if "v1beta1" in request.path else web.Response(status=404)

    found = ask(old, lambda cluster: cluster.list_workloads("lab", "j"))

    assert [one["metadata"]["name"] for one in found] == ["w"]
    assert asked == [
        (f"/apis/kueue.x-k8s.io/{version}/namespaces/lab/workloads", "kueue.x-k8s.io/job-uid=j") for version in ("v1beta2", "v1beta1")
    ]


def test_characters_beyond_unicodes_first_plane_are_written_as_they_are():
    read = []

    async def take(request):
        read.append(await request.text())
        return web.json_response(RUN)

    ask(take, lambda cluster: cluster.apply_status(RUN, {"message": "😀"}))

    assert "😀" in read[0]  # server-side apply reads YAML, which knows no pairs of escapes


def test_of_many_events_the_newest_are_read():
    async def tell(request):
        begin, size = int(request.query.get("continue", 0)), int(request.query["limit"])
        items = [{"metadata": {"name": f"pod.{number:03}"}} for number in range(250)][begin : begin + size]
        rest = {"continue": str(begin + size)} if begin + size < 250 else {}
        return web.json_response({"kind": "EventList", "apiVersion": "v1", "metadata": rest, "items": items})

    found = ask(tell, lambda cluster: cluster.list_events("lab", "uid"))

    assert len(found) == 100
    assert found[-1]["metadata"]["name"] == "pod.249"
