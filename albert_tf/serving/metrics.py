"""What a server counts, for Prometheus."""

import prometheus_client

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What /metrics reports."""

    def __init__(self):
        self.registry = registry = prometheus_client.CollectorRegistry()
        self.requests = prometheus_client.Counter(
            "albert_requests", "Requests answered", ("signature", "code"), registry=registry
        )
        self.seconds = prometheus_client.Histogram(
            "albert_request_seconds", "From arrival to answer", ("signature",), registry=registry
        )
        self.rows = prometheus_client.Histogram(
            "albert_batch_rows", "Rows of a run", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.versions = prometheus_client.Counter(
            "albert_versions", "Versions loaded and refused", ("event",), registry=registry
        )
        self.in_flight = prometheus_client.Gauge(
            "albert_requests_in_flight", "Requests not answered yet", registry=registry
        )
