package io.driftline.bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Wall and CPU time between two events, as peers/meter.py has it; for one thread. */
final class Meter {
  private static final OperatingSystemMXBean SYSTEM =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  private final long warm;
  private final long events;
  private long seen;
  private long detections;
  private double startSeconds;
  private double startCpuSeconds;
  private long firstNanos;
  private long firstCpuNanos;
  private double wallSeconds;
  private double cpuSeconds;

  Meter(long warm, long events) {
    this.warm = warm;
    this.events = events;
  }

  /** Call before each event; false when there is nothing left to do. */
  boolean before() {
    if (seen == warm + events) {
      return false;
    }
    if (seen == 0) {
      long born = ManagementFactory.getRuntimeMXBean().getStartTime();
      startSeconds = (System.currentTimeMillis() - born) / 1e3;
      startCpuSeconds = SYSTEM.getProcessCpuTime() / 1e9;
    }
    if (seen == warm) {
      firstNanos = System.nanoTime();
      firstCpuNanos = SYSTEM.getProcessCpuTime();
    }
    return true;
  }

  /** Shows that the work was done. */
  void detection() {
    detections++;
  }

  /** Call after each event; true when that was the last one. */
  boolean after() {
    seen++;
    if (seen != warm + events) {
      return false;
    }
    wallSeconds = (System.nanoTime() - firstNanos) / 1e9;
    cpuSeconds = (SYSTEM.getProcessCpuTime() - firstCpuNanos) / 1e9;
    return true;
  }

  /** One line of JSON. */
  String result() throws IOException {
    String peak =
        Files.readAllLines(Path.of("/proc/self/status")).stream()
            .filter(line -> line.startsWith("VmHWM:"))
            .findFirst()
            .orElseThrow();
    double peakMb = Long.parseLong(peak.replaceAll("\\D", "")) * 1024 / 1e6;
    return String.format(
        Locale.ROOT,
        "{\"seen\": %d, \"events\": %d, \"wall_seconds\": %.6f, \"cpu_seconds\": %.6f,"
            + " \"start_seconds\": %.3f, \"start_cpu_seconds\": %.3f, \"rss_peak_mb\": %.1f,"
            + " \"detections\": %d}",
        seen,
        events,
        wallSeconds,
        cpuSeconds,
        startSeconds,
        startCpuSeconds,
        peakMb,
        detections);
  }
}
