"""Serves exported models on the REST interface of TensorFlow Serving.

    python -m albert_tf.run_server --model_dir=served/mrpc
    curl -d '{"instances": [{"text": "A fine film."}]}' localhost:8501/v1/models/albert:predict

The newest version in the folder answers; a newer one takes over as soon as it is there and works.
http://localhost:8501/ is a page to type at.
"""

import asyncio
import gc
import socket

from absl import flags

from albert_tf import command_line, setting_checks

FLAGS = flags.FLAGS

flags.DEFINE_string("model_dir", None, "Folder of versions, made by run_export.")
flags.DEFINE_string("model_name", "albert", "Name of the model in addresses.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
flags.DEFINE_integer("port", 8501, "Port to listen on; 0 takes a free one.", 0, 65535)
flags.DEFINE_float("poll_seconds", 2.0, "Seconds between two looks at the folder.")
flags.DEFINE_integer("max_batch_size", 32, "Rows of different clients that are run together.")
flags.DEFINE_integer("workers", 1, "Runs of the model at the same time.")
flags.DEFINE_integer("max_waiting", 1000, "Requests that may wait; more get 503.")
flags.DEFINE_float("timeout_seconds", 30.0, "A request that takes longer gets 504.")
flags.DEFINE_integer("max_rows", 256, "Rows of one request.")
flags.DEFINE_integer("max_text_bytes", 1_000_000, "Bytes of one text.")
flags.DEFINE_integer(
    "max_body_bytes", 10_000_000, "Bytes of one request; all together may have ten times as many."
)
flags.DEFINE_float(
    "client_seconds",
    30.0,
    "What a client has for sending the head of a request, for its body, and for taking the answer.",
)
flags.DEFINE_integer(
    "max_connections",
    1000,
    "Connections at one time; one more takes the place of the one that has waited longest for its "
    "client.",
)
flags.DEFINE_list(
    "allowed_hosts",
    [],
    "Names that the server is asked by, besides localhost, this machine's name, --host and any "
    "address; *.example.org for all below one, * for any.",
)
flags.mark_flag_as_required("model_dir")


def main():
    """Loads the newest version, then serves until it is told to stop."""
    setting_checks.check_folder("--model_dir", FLAGS.model_dir)
    listening = _listen(FLAGS.host, FLAGS.port)
    command_line.load_tensorflow()
    try:
        from albert_tf.serving.http_server import ConnectionSettings, Server
        from albert_tf.serving.model_server import Metrics, ModelServer, ServerSettings
        from albert_tf.serving.predict_protocol import Limits
        from albert_tf.serving.request_batching import BatchingSettings
        from albert_tf.serving.served_versions import ServedVersions
    except ImportError as error:
        raise ValueError(
            f"more packages are needed ({error}): pip install 'albert_tf[serve]'"
        ) from error
    settings = ServerSettings(
        model_name=FLAGS.model_name,
        max_body_bytes=FLAGS.max_body_bytes,
        allowed_hosts=(*FLAGS.allowed_hosts, FLAGS.host, socket.gethostname()),
        limits=command_line.dataclass_from_flags(Limits, FLAGS),
        batching=command_line.dataclass_from_flags(BatchingSettings, FLAGS),
    )
    connections = command_line.dataclass_from_flags(ConnectionSettings, FLAGS)
    metrics = Metrics()
    # What was imported stays. The collector need not look at it whenever a request was large.
    gc.freeze()
    versions = ServedVersions(
        FLAGS.model_dir, FLAGS.poll_seconds, lambda event: metrics.versions.labels(event).inc()
    )
    versions.start()
    host, port = listening.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    messages = {
        "listening": f"version {versions.current.number} of {FLAGS.model_name} answers at "
        f"http://{host}:{port}/",
        "stopping": "stopping: what has come is answered first; a second signal ends at once",
    }
    server_app = ModelServer(versions, settings, metrics).make_app()
    server = Server(server_app, connections, lambda event: command_line.print_now(messages[event]))
    asyncio.run(server.serve([listening]))


def _listen(host, port):
    """Returns a socket that is bound to an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise ValueError(
            f"--host and --port must be an address that is free. Received: {host}:{port}, "
            f"{error.strerror}"
        ) from error
    return listening


if __name__ == "__main__":
    command_line.run(main)
