"""Events of the sources whose mappings are shipped, as these services write them."""

from typing import Any

PUSH: dict[str, Any] = {
    "webhook_type": "push",
    "webhook_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "sender": {"login": "eve"},
    "organization": {"login": "acme"},
    "head_commit": {"id": "6dcb09b5", "timestamp": "2026-11-25T10:34:15Z"},
    "commits": [{"added": ["a.py", "b.py"], "modified": []}, {"added": ["c.py"], "modified": ["a.py"]}],
    "files": [{"name": "a.py", "matches": [{"desc": "AWS key", "line": 7}]}, {"name": "b.py", "matches": []}],
    "repository": {"html_url": "https://github.com/acme/app", "private": False, "owner": {"login": "acme"}},
}
LOGIN: dict[str, Any] = {
    "eventVersion": "1.08",
    "userIdentity": {
        "type": "AssumedRole",
        "principalId": "AROA:eve",
        "arn": "arn:aws:sts::123456789012:assumed-role/Admin/eve",
        "sessionContext": {"sessionIssuer": {"userName": "Admin"}},
    },
    "eventTime": "2026-11-25T10:34:15Z",
    "eventSource": "signin.amazonaws.com",
    "eventName": "ConsoleLogin",
    "awsRegion": "eu-central-1",
    "sourceIPAddress": "192.0.2.7",
    "requestParameters": None,
    "responseElements": {"ConsoleLogin": "Success"},
    "additionalEventData": {"MFAUsed": "No", "bytesTransferredIn": 3.0, "bytesTransferredOut": 4},
    "eventID": "e1",
    "readOnly": False,
    "recipientAccountId": "123456789012",
}
INSTANCES: dict[str, Any] = {
    "eventTime": "2026-11-25T10:34:15Z",
    "eventName": "RunInstances",
    "userIdentity": {"type": "IAMUser", "userName": "eve"},
    "requestParameters": {
        "bucketName": "b",
        "key": "k",
        "tagSpecificationSet": {
            "items": [
                {"resourceType": "volume", "tags": [{"key": "Name", "value": "no"}]},
                {"resourceType": "instance", "tags": [{"key": "x", "value": "no"}, {"key": "Name", "value": "web"}]},
            ]
        },
    },
    "responseElements": {"instancesSet": {"items": [{"imageId": "ami-1"}, {"imageId": "ami-2"}]}},
}
LOCKED: dict[str, Any] = {
    "uuid": "u1",
    "published": "2026-11-25T10:34:15.621Z",
    "eventType": "user.account.lock",
    "actor": {"id": "00u1", "type": "User", "alternateId": "eve@example.com", "displayName": "Eve"},
    "client": {"ipAddress": "192.0.2.7", "geographicalContext": {"geolocation": {"lat": 52.5}}},
    "debugContext": {"debugData": {"requestUri": "/app/salesforce/x"}},
    "securityContext": {"asNumber": 64496, "isProxy": False},
    "target": [
        {"type": "User", "id": "00u2", "alternateId": "bob@example.com", "displayName": "Bob"},
        {"type": "AppInstance", "alternateId": "crm", "displayName": "CRM"},
    ],
}
