"""Which shard a workflow ID belongs to: the server's fixed hash, for choosing probes that cover all shards.

XXH3 (64 bits, no seed) for 33 to 64 bytes, which is what a namespace id and a probe's workflow ID come to together.
"""

from __future__ import annotations

SLOTS = 16384
MASK = (1 << 64) - 1
PRIME_64_1 = 0x9E3779B185EBCA87
AVALANCHE = 0x165667919E3779F9
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
)


def xxh3_64(data: bytes) -> int:
    if not 33 <= len(data) <= 64:
        raise ValueError(f"{len(data)} bytes: only 33 to 64 are implemented")

    def word(source: bytes, at: int) -> int:
        return int.from_bytes(source[at : at + 8], "little")

    def mix(at: int, secret: int) -> int:
        product = (word(data, at) ^ word(SECRET, secret)) * (word(data, at + 8) ^ word(SECRET, secret + 8))
        return (product & MASK) ^ (product >> 64)

    end = len(data)
    total = end * PRIME_64_1 + mix(16, 32) + mix(end - 32, 48) + mix(0, 0) + mix(end - 16, 16)
    total &= MASK
    total ^= total >> 37
    total = total * AVALANCHE & MASK
    return total ^ (total >> 32)


def shard_of(namespace_id: str, workflow_id: str, shards: int) -> int:
    """The shard that holds a workflow ID."""
    slot = xxh3_64(namespace_id.encode() + b"\0" + workflow_id.encode()) % SLOTS
    return slot * shards // SLOTS


def covering(namespace_id: str, prefix: str, shards: int, each: int) -> dict[str, int]:
    """Workflow IDs, `each` in every shard, with the shard of each."""
    found: dict[int, list[str]] = {shard: [] for shard in range(shards)}
    number = 0
    while any(len(ids) < each for ids in found.values()):
        workflow_id = f"{prefix}{number}"
        ids = found[shard_of(namespace_id, workflow_id, shards)]
        if len(ids) < each:
            ids.append(workflow_id)
        number += 1
    return {workflow_id: shard for shard, ids in found.items() for workflow_id in ids}


# A vector of services/ids: a wrong hash must not pass for a right one.
assert xxh3_64(b"00000000-0000-0000-0000-000000000000\0order-1") % SLOTS == 14051
