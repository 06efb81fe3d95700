"""Plays the partner on a medallion server, by the client that the partner would use.

usage: medallion.py seed COLLECTION_URL USER PASSWORD COUNT
       medallion.py add COLLECTION_URL USER PASSWORD BUNDLE
       medallion.py fetch COLLECTION_URL USER PASSWORD OBJECT_ID
       medallion.py all COLLECTION_URL USER PASSWORD ''
"""

import json
import sys
import uuid

from taxii2client.v21 import Collection
from taxii2client.v21 import as_pages

NAMESPACE = uuid.UUID("7f1f4c1e-5d0e-4d6a-9f0f-0b1a5f1e4c11")


def indicator(number):
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid.uuid5(NAMESPACE, str(number))}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "valid_from": "2026-01-01T00:00:00Z",
        "pattern": f"[domain-name:value = 'n{number}.example']",
        "pattern_type": "stix",
    }


def envelopes(objects):
    """Groups of objects, each within what the server takes."""
    group, length = [], 0
    for one in objects:
        size = len(json.dumps(one)) + 2
        if group and length + size > 60_000:
            yield group
            group, length = [], 0
        group.append(one)
        length += size
    if group:
        yield group


def main():
    action, url, user, password, argument = sys.argv[1:]
    collection = Collection(url, user=user, password=password)
    if action == "seed":
        count = int(argument)
        # several envelopes: each has one date of addition for all its objects
        for start in range(0, count, 50):
            numbers = range(start, min(start + 50, count))
            status = collection.add_objects({"objects": [indicator(n) for n in numbers]})
            assert status.status == "complete", status
            assert status.failure_count == 0, status.failures
    elif action == "add":
        with open(argument) as file:
            objects = json.load(file)["objects"]
        for envelope in envelopes(objects):
            status = collection.add_objects({"objects": envelope})
            assert status.status == "complete", status
    elif action == "all":
        objects = []
        for page in as_pages(collection.get_objects, per_request=20):
            objects += page.get("objects", [])
        print(json.dumps({"objects": objects}))
    elif action == "fetch":
        print(json.dumps(collection.get_object(argument)))
    else:
        sys.exit(__doc__)


main()
