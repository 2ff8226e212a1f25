//! The names and help texts of a run's metrics. They are listed in `docs/metrics.md`.

use crate::metric_family::Family;

pub(crate) const RUN_AGE_SECONDS: Family =
    Family::gauge("fermata_run_age_seconds", "Time since the run began.");
pub(crate) const RUN_FAULTS: Family = Family::counter(
    "fermata_run_faults_total",
    "Faults found: what makes a run fail.",
);
pub(crate) const RUN_STREAMS: Family =
    Family::gauge("fermata_run_streams", "Streams that have not been closed.");
pub(crate) const RUN_CLOSED_STREAMS: Family = Family::counter(
    "fermata_run_closed_streams_total",
    "Streams, or units of work, that have ended and been closed.",
);
pub(crate) const RUN_FAILED_UNITS: Family = Family::counter(
    "fermata_run_failed_units_total",
    "Units of work that failed.",
);
pub(crate) const RUN_CAPTURED_PACKETS: Family = Family::counter(
    "fermata_run_captured_packets_total",
    "Packets that sources handed to the graph, of all streams.",
);
pub(crate) const RUN_DELIVERED_PACKETS: Family = Family::counter(
    "fermata_run_delivered_packets_total",
    "Packets that reached every lossless sink, of all streams.",
);
pub(crate) const NODE_UP: Family = Family::gauge(
    "fermata_node_up",
    "1 while the node works or waits for work; 0 while it starts, has lost its device, is being restarted, or has ended.",
);
pub(crate) const NODE_RECEIVED_PACKETS: Family = Family::counter(
    "fermata_node_received_packets_total",
    "Packets taken from the node's queues.",
);
pub(crate) const NODE_PACKETS: Family = Family::counter(
    "fermata_node_packets_total",
    "Packets by what became of them at the node; of a source, captured ones are processed.",
);
pub(crate) const NODE_IN_HAND_PACKETS: Family = Family::gauge(
    "fermata_node_in_hand_packets",
    "Packets that the node has taken and not settled.",
);
pub(crate) const NODE_RUNNING_CALL_AGE_SECONDS: Family = Family::gauge(
    "fermata_node_running_call_age_seconds",
    "Age of the oldest call that has not returned; 0 without one.",
);
pub(crate) const NODE_RESTARTS: Family = Family::counter(
    "fermata_node_restarts_total",
    "How often the actor was restarted.",
);
pub(crate) const NODE_BUSY_SECONDS: Family = Family::counter(
    "fermata_node_busy_seconds_total",
    "Time in calls, of all replicas together.",
);
pub(crate) const NODE_BLOCKED_SECONDS: Family = Family::counter(
    "fermata_node_blocked_seconds_total",
    "Time in which the node had something to take and no room for what would come of it.",
);
pub(crate) const NODE_REPLICAS: Family =
    Family::gauge("fermata_node_replicas", "Replicas; 1 without.");
pub(crate) const NODE_SERVICE_SECONDS: Family =
    Family::histogram("fermata_node_service_seconds", "Time in a call.");
pub(crate) const NODE_QUEUE_WAIT_SECONDS: Family = Family::histogram(
    "fermata_node_queue_wait_seconds",
    "Time of a packet in the node's queues.",
);
pub(crate) const NODE_BATCHES: Family =
    Family::counter("fermata_node_batches_total", "Batches formed.");
pub(crate) const NODE_BATCHED_WEIGHT: Family = Family::counter(
    "fermata_node_batched_weight_total",
    "Weights of the batches together: faces, rows.",
);
pub(crate) const NODE_BATCH_MAX_WEIGHT: Family = Family::gauge(
    "fermata_node_batch_max_weight",
    "The weight at which a batch is full.",
);
pub(crate) const EDGE_QUEUE_PACKETS: Family =
    Family::gauge("fermata_edge_queue_packets", "Packets in the queue.");
pub(crate) const EDGE_QUEUE_CAPACITY_PACKETS: Family = Family::gauge(
    "fermata_edge_queue_capacity_packets",
    "Packets at which the queue is full.",
);
pub(crate) const EDGE_QUEUE_HIGH_WATER_PACKETS: Family = Family::gauge(
    "fermata_edge_queue_high_water_packets",
    "Most packets in the queue at any moment.",
);
pub(crate) const EDGE_SENT_PACKETS: Family = Family::counter(
    "fermata_edge_sent_packets_total",
    "Packets sent into the queue.",
);
pub(crate) const EDGE_RECEIVED_PACKETS: Family = Family::counter(
    "fermata_edge_received_packets_total",
    "Packets taken out of the queue.",
);
pub(crate) const EDGE_DROPPED_PACKETS: Family = Family::counter(
    "fermata_edge_dropped_packets_total",
    "Packets that the queue dropped, by cause.",
);
pub(crate) const STREAM_UP: Family = Family::gauge(
    "fermata_stream_up",
    "1 while the stream runs; 0 while its source has lost what it captures from, and after its end.",
);
pub(crate) const STREAM_CAPTURED_PACKETS: Family = Family::counter(
    "fermata_stream_captured_packets_total",
    "Packets that the source handed to the graph.",
);
pub(crate) const STREAM_MISSED_PACKETS: Family = Family::counter(
    "fermata_stream_missed_packets_total",
    "Frames of a live source that were overwritten before the graph could take them.",
);
pub(crate) const STREAM_DELIVERED_PACKETS: Family = Family::counter(
    "fermata_stream_delivered_packets_total",
    "Packets that reached every lossless sink.",
);
pub(crate) const SINK_DELIVERED_PACKETS: Family = Family::counter(
    "fermata_sink_delivered_packets_total",
    "Packets of the stream that the sink has handled.",
);
pub(crate) const SINK_LATENCY_SECONDS: Family = Family::histogram(
    "fermata_sink_latency_seconds",
    "Time from capture to delivery at the sink.",
);
pub(crate) const SINK_LOST_PACKETS: Family = Family::counter(
    "fermata_sink_lost_packets_total",
    "Packets of the stream that did not get to the sink, by cause and place.",
);
