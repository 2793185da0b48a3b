"""Replicas of the service on a Ray cluster, behind Ray Serve's own proxy and autoscaling.

    pip install "ray[serve]"
    HTS_RUN=runs/mine serve run --working-dir examples/serve ray_serve:application

Each replica is the ASGI application of `hts serve`, with its own limits, batches and decoding processes. Ray
chooses the replica. The run folder must be at the same path on every machine.
"""

from __future__ import annotations

import os

from ray import serve
from starlette.applications import Starlette

DECODERS = 2


def service() -> Starlette:
    """Return the service; called on each replica, because its processes cannot travel."""
    from hidden_two_stream.apps.service.application import create_service
    from hidden_two_stream.apps.service.keys import read_keys
    from hidden_two_stream.apps.service.settings import ServeSettings

    hosts = tuple(filter(None, os.environ.get("HTS_HOSTS", "").split(",")))
    settings = ServeSettings(workers=DECODERS, api_keys=read_keys(None), allow_hosts=hosts)
    return create_service(os.environ["HTS_RUN"], settings)


deployment = serve.deployment(
    serve.ingress(service)(),
    name="hts",
    ray_actor_options={"num_cpus": 1 + DECODERS},
    max_ongoing_requests=64,  # as ServeSettings.max_requests
    autoscaling_config={"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 16},
    health_check_period_s=10,
    graceful_shutdown_timeout_s=40,
)
application = deployment.bind()
