"""The schemas that objects of files are checked by, the same that an API server checks by.

The two CRDs of Backends are ours and are installed in clusters as they stand here; `gateway-api.json` is cut from a
release of the Gateway API by `tests/cluster/gateway_api.py`; `core.yaml` says what is read of Kubernetes' own kinds.
Beside them stands `torana.yaml`, which installs the gateway. `deploy/` has copies for those who have no Torana at hand.
"""
