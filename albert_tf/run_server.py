"""Serves exported models on the REST interfaces of TensorFlow Serving and KServe.

    python -m albert_tf.run_server --model_dir=served/mrpc
    curl -d '{"instances": [{"text": "A fine film."}]}' localhost:8501/v1/models/albert:predict

The newest version in the folder answers; a newer one takes over as soon as it is there and works.
http://localhost:8501/ is a page to type at, http://localhost:8501/docs lists all addresses.
"""

import asyncio
import gc
import os
import socket

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.serving.settings import (
    KEY_VARIABLE,
    ConnectionSettings,
    ServerSettings,
    ServiceSettings,
    read_keys,
)

FLAGS = flags.FLAGS

for _settings_class in (ServiceSettings, ServerSettings, ConnectionSettings):
    command_line.define_flags(_settings_class)


def main() -> None:
    """Loads the newest version, then serves until it is told to stop."""
    service = command_line.settings_from_flags(ServiceSettings, FLAGS)
    settings = command_line.settings_from_flags(ServerSettings, FLAGS)
    settings = settings.with_values(
        allowed_hosts=(*settings.allowed_hosts, service.host, socket.gethostname())
    )
    connections = command_line.settings_from_flags(ConnectionSettings, FLAGS)
    setting_checks.check_folder("model_dir", service.model_dir)
    setting_checks.check_no_pattern("model_dir", os.path.abspath(service.model_dir))
    keys = read_keys(service.api_key_file)
    os.environ.pop(KEY_VARIABLE, None)  # for no process that this one may start
    listening = _listen(service.host, service.port)
    command_line.load_tensorflow()
    try:
        from albert_tf.serving.http_server import Server
        from albert_tf.serving.metrics import Metrics
        from albert_tf.serving.model_server import ModelServer
        from albert_tf.serving.served_versions import ServedVersions
    except ImportError as error:
        raise ValueError(
            f"more packages are needed ({error}): pip install 'albert_tf[serve]'"
        ) from error
    metrics = Metrics()
    # What was imported stays. The collector need not look at it whenever a request was large.
    gc.freeze()
    versions = ServedVersions(
        service.model_dir, service.poll_seconds, lambda event: metrics.versions.labels(event).inc()
    )
    versions.start()
    host, port = listening.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    messages = {
        "listening": f"version {versions.current.number} of {settings.model_name} answers at "
        f"http://{host}:{port}/",
        "stopping": "stopping: what has come is answered first; a second signal ends at once",
    }
    server_app = ModelServer(versions, settings, metrics, keys).make_app()
    server = Server(server_app, connections, lambda event: command_line.print_now(messages[event]))
    asyncio.run(server.serve([listening]))


def _listen(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise ValueError(
            f"`host` and `port` must be an address that is free. Received: {host}:{port}, "
            f"{error.strerror}"
        ) from error
    return listening


if __name__ == "__main__":
    # Versions are watched where they appear: a copy of them would never change.
    command_line.run(main, copies_inputs=False, model_directories=[])
