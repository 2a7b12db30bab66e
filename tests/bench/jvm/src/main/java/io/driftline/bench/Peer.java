package io.driftline.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import moa.classifiers.core.driftdetection.ADWIN;
import moa.classifiers.core.driftdetection.PageHinkleyDM;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Kafka Streams, Jackson and MOA on the work of the other peers.
 *
 * <p>Every numeric feature of every event goes through MOA's ADWIN and Page-Hinkley. The detectors
 * are fields of the processor: a set for each partition, not stored anywhere. Reads WARM events so
 * that the JIT has compiled everything, measures the next EVENTS, prints one line of JSON, commits
 * and ends. Arguments: BOOTSTRAP TOPIC WARM EVENTS.
 */
public final class Peer implements Processor<byte[], byte[], Void, Void> {
  private static final int FEATURES = 18;
  private static final Map<String, Integer> INDEX = new HashMap<>();

  // The streaming parser, not a tree: no object a value. Its fast doubles are off by default.
  private static final JsonFactory JSON =
      JsonFactory.builder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();

  static {
    for (int i = 0; i < FEATURES; i++) {
      INDEX.put(String.format("feature_%02d", i), i);
    }
  }

  private final ADWIN[] adwin = new ADWIN[FEATURES];
  private final PageHinkleyDM[] pageHinkley = new PageHinkleyDM[FEATURES];
  private final double[] row = new double[FEATURES];
  private final Meter meter;
  private final CountDownLatch done;

  private Peer(Meter meter, CountDownLatch done) {
    this.meter = meter;
    this.done = done;
    for (int i = 0; i < FEATURES; i++) {
      adwin[i] = new ADWIN();
      pageHinkley[i] = new PageHinkleyDM();
    }
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    if (!meter.before()) {
      return;
    }
    try {
      parse(record.value());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    for (int i = 0; i < FEATURES; i++) {
      if (adwin[i].setInput(row[i])) {
        meter.detection();
      }
      pageHinkley[i].input(row[i]);
      if (pageHinkley[i].getChange()) {
        meter.detection();
      }
    }
    if (meter.after()) {
      done.countDown();
    }
  }

  private void parse(byte[] event) throws IOException {
    try (JsonParser parser = JSON.createParser(event)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        boolean features = parser.currentName().equals("features");
        parser.nextToken();
        if (features) {
          parseFeatures(parser);
        } else {
          parser.skipChildren();
        }
      }
    }
  }

  private void parseFeatures(JsonParser parser) throws IOException {
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      Integer index = INDEX.get(parser.currentName());
      parser.nextToken();
      if (index != null) {
        row[index] = parser.getDoubleValue();
      } else {
        parser.skipChildren();
      }
    }
  }

  private static Properties settings(String bootstrap) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "jvm-peer-" + UUID.randomUUID());
    settings.put(StreamsConfig.STATE_DIR_CONFIG, "state");
    settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    // Bytes in: the processor parses, and nothing is copied before it does.
    settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
    settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
    // One, as every program here has one thread for its work; a second makes no event cheaper.
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    // Default 1,000: ten times fewer turns of the loop that polls and looks at the clock.
    settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
    // Default 1,000: with that, partitions are paused and resumed after every fetch.
    settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
    // Default 1 MiB: fewer requests; 4 MiB are about 6,400 events of a partition.
    settings.put(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 << 20);
    // Default 64 KiB: fewer system calls for a fetch of that size.
    settings.put(ConsumerConfig.RECEIVE_BUFFER_CONFIG, 1 << 20);
    return settings;
  }

  public static void main(String[] arguments) throws Exception {
    Meter meter = new Meter(Long.parseLong(arguments[2]), Long.parseLong(arguments[3]));
    CountDownLatch done = new CountDownLatch(1);
    Topology topology = new Topology();
    topology.addSource("events", arguments[1]);
    topology.addProcessor("detect", () -> new Peer(meter, done), "events");
    try (KafkaStreams streams = new KafkaStreams(topology, settings(arguments[0]))) {
      streams.setUncaughtExceptionHandler(
          error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
          });
      streams.start();
      done.await();
      System.out.println(meter.result());
    } // closing commits the offsets
  }
}
