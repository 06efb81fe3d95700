"""Plays the partner on a medallion server, by the client that the partner would use.

usage: medallion.py seed COLLECTION_URL USER PASSWORD COUNT
       medallion.py fetch COLLECTION_URL USER PASSWORD OBJECT_ID
"""

import json
import sys
import uuid

from taxii2client.v21 import Collection

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
    elif action == "fetch":
        print(json.dumps(collection.get_object(argument)))
    else:
        sys.exit(__doc__)


main()
