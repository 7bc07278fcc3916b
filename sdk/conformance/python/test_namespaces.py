"""Namespaces: registered, described, listed and changed; each its own world."""

import uuid

import pytest
from temporalio import workflow
from temporalio.api.namespace.v1 import UpdateNamespaceInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetClusterInfoRequest,
    GetSystemInfoRequest,
    ListNamespacesRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from raw import duration
from stage import Stage, eventually, seconds


@workflow.defn
class Where:
    @workflow.run
    async def run(self) -> str:
        return workflow.info().namespace


async def registered(stage: Stage) -> str:
    name = f"ns-{uuid.uuid4().hex[:10]}"
    await stage.service.register_namespace(
        RegisterNamespaceRequest(
            namespace=name,
            description="made by a test",
            owner_email="owner@example.org",
            workflow_execution_retention_period=duration(86400 * 3),
            data={"team": "conformance"},
        )
    )

    async def served():
        try:
            return await stage.service.describe_namespace(DescribeNamespaceRequest(namespace=name))
        except RPCError as error:
            assert error.status == RPCStatusCode.NOT_FOUND

    await eventually(served, "the new namespace is served")
    return name


@pytest.mark.once
async def test_register_describe_list_update(stage: Stage):
    name = await registered(stage)
    described = await stage.service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    assert described.namespace_info.name == name and described.namespace_info.id
    assert described.namespace_info.description == "made by a test"
    assert described.namespace_info.data["team"] == "conformance"
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == seconds(86400 * 3)
    by_id = await stage.service.describe_namespace(DescribeNamespaceRequest(id=described.namespace_info.id))
    assert by_id.namespace_info.name == name
    listed, token = [], b""
    while True:
        page = await stage.service.list_namespaces(ListNamespacesRequest(page_size=2, next_page_token=token))
        listed += [entry.namespace_info.name for entry in page.namespaces]
        token = page.next_page_token
        if not token:
            break
    assert name in listed and "default" in listed
    await stage.service.update_namespace(
        UpdateNamespaceRequest(namespace=name, update_info=UpdateNamespaceInfo(description="changed"))
    )
    described = await stage.service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    assert described.namespace_info.description == "changed"
    assert described.namespace_info.owner_email == "owner@example.org"
    with pytest.raises(RPCError) as caught:
        await stage.service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=duration(86400))
        )
    assert caught.value.status == RPCStatusCode.ALREADY_EXISTS


@pytest.mark.once
async def test_the_same_workflow_id_lives_in_two_namespaces(stage: Stage):
    name = await registered(stage)
    other = await Client.connect(stage.client.service_client.config.target_host, namespace=name)

    async def started():
        try:
            return await other.start_workflow(Where.run, id=stage.id(), task_queue=stage.task_queue)
        except RPCError as error:
            assert error.status == RPCStatusCode.NOT_FOUND

    theirs = await eventually(started, "the namespace is known everywhere")
    ours = await stage.start(Where.run)
    async with stage.worker([Where]):
        async with Worker(other, task_queue=stage.task_queue, workflows=[Where]):
            assert await ours.result() == "default"
            assert await theirs.result() == name
    with pytest.raises(RPCError) as caught:
        await other.get_workflow_handle(stage.id(), run_id=ours.first_execution_run_id).describe()
    assert caught.value.status == RPCStatusCode.NOT_FOUND


@pytest.mark.once
async def test_what_the_server_says_about_itself(stage: Stage):
    info = await stage.service.get_system_info(GetSystemInfoRequest())
    assert info.server_version
    for flag in [
        "signal_and_query_header", "internal_error_differentiation", "activity_failure_include_heartbeat",
        "encoded_failure_attributes", "upsert_memo", "eager_workflow_start", "sdk_metadata",
    ]:
        assert getattr(info.capabilities, flag), flag
    cluster = await stage.service.get_cluster_info(GetClusterInfoRequest())
    assert cluster.cluster_id and cluster.history_shard_count > 0 and cluster.server_version
    assert await stage.client.service_client.check_health()
