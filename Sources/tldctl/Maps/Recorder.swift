// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The loaded programs of a recording, and the loop that empties their ring buffer.

import TldctlKernel
import Glibc
import TldctlModel

struct Recorder: ~Copyable {
  private let recorder: OpaquePointer

  /// What becomes readable by Ctrl-C, which from now on ends nothing by itself.
  static func signals() throws(Failure) -> Descriptor {
    let descriptor = ctldctl_end_descriptor()
    guard descriptor >= 0 else { throw Failure.system("signals cannot be awaited", errno: -descriptor) }
    return Descriptor(descriptor)
  }

  init(_ maps: [FoundMap], name: [UInt8], pid: UInt32?, ringBytes: UInt32) throws(Failure) {
    var request = ctldctl_recorder_request(), opened: OpaquePointer?
    request.map_count = UInt32(maps.count)
    request.tgid = pid ?? 0
    request.ring_bytes = ringBytes
    let error = try withDescriptors(maps) { descriptors in
      withUnsafeMutableBytes(of: &request.map_fds) { $0.copyBytes(from: descriptors.withUnsafeBytes(Array.init)) }
      let sizes = maps.map { UInt32($0.valueSize) }
      withUnsafeMutableBytes(of: &request.value_sizes) { $0.copyBytes(from: sizes.withUnsafeBytes(Array.init)) }
      return (name + [0]).withUnsafeBufferPointer { bytes in
        bytes.withMemoryRebound(to: CChar.self) { characters in
          request.name = characters.baseAddress
          return loading { ctldctl_recorder_open(&request, &opened) }
        }
      }
    }
    guard error == 0, let opened else { throw loadFailure("nothing can be recorded", -error) }
    recorder = opened
  }

  deinit { ctldctl_recorder_close(recorder) }

  /// Records until the time is over or a signal says so, and writes all but the file's end when
  /// it comes in.
  func run(
    _ header: RecordingHeader, values: Int, seconds: Double?, until signals: borrowing Descriptor,
    into file: borrowing ReplacedFile
  ) throws(Failure) -> (RecordingWriter, RecordingEnd) {
    var header = header
    let origin = ctldctl_monotonic_ns()
    header.began = ctldctl_realtime_ns()
    try begin(&header)
    var writer = RecordingWriter(header, origin: origin, mostValues: values)
    var progress = Progress(name: header.name)
    let deadline = seconds.map { origin + UInt64($0 * 1e9) } ?? .max
    while try wait(signals: signals.number, deadline: deadline) {
      try empty(into: &writer, file)
      if progress.isDue(since: origin) { progress.show(writer, lost: lost()) }
    }
    let end = try finish(origin: origin, &writer, file)
    progress.clear()
    return (writer, end)
  }

  private func begin(_ header: inout RecordingHeader) throws(Failure) {
    var refused: Int32 = 0
    let error = ctldctl_recorder_begin(recorder, UInt32(header.sampleRate), &refused)
    guard error == 0 else { throw loadFailure("nothing can be recorded", -error) }
    guard refused != 0 else { return }
    header.sampleRate = 0
    complain("threads are not read between switches: \(describe(errno: -refused))")
  }

  /// Whether to go on. Wakes up ten times a second, and when the buffer fills.
  private func wait(signals: Int32, deadline: UInt64) throws(Failure) -> Bool {
    let now = ctldctl_monotonic_ns()
    guard now < deadline else { return false }
    let left = min((deadline - now + 999_999) / 1_000_000, 100)
    var awaited = [
      pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
      pollfd(fd: ctldctl_recorder_descriptor(recorder), events: Int16(POLLIN), revents: 0),
    ]
    let ready = poll(&awaited, 2, Int32(left))
    guard ready >= 0 || errno == EINTR else { throw Failure.system("the ring buffer cannot be awaited", errno: errno) }
    return awaited[0].revents == 0
  }

  private static let batch = 1024

  private func empty(into writer: inout RecordingWriter, _ file: borrowing ReplacedFile, rounds: Int = 256)
    throws(Failure)
  {
    var stretches = [ctldctl_stretch](repeating: ctldctl_stretch(), count: Self.batch)
    // Who fills it faster than it is read would keep us here.
    for _ in 0..<rounds {
      let taken = ctldctl_recorder_take(recorder, &stretches, stretches.count)
      guard taken >= 0 else { throw Failure.system("the ring buffer cannot be read", errno: -taken) }
      for stretch in stretches.prefix(Int(taken)) { writer.add(ReportedStretch(stretch)) }
      try file.write(writer.bytes)
      writer.bytes.removeAll(keepingCapacity: true)
      if taken < Self.batch { return }
    }
  }

  private func finish(origin: UInt64, _ writer: inout RecordingWriter, _ file: borrowing ReplacedFile) throws(Failure)
    -> RecordingEnd
  {
    let error = ctldctl_recorder_end(recorder)
    guard error == 0 else { throw Failure.system("the recording cannot be ended", errno: -error) }
    var end = RecordingEnd()
    end.duration = ctldctl_monotonic_ns() - origin
    try empty(into: &writer, file, rounds: .max)
    end.lost = lost()
    end.missed = ctldctl_recorder_missed(recorder)
    writer.finish(end)
    try file.write(writer.bytes)
    return end
  }

  private func lost() -> [Lost] {
    var lost = [ctldctl_lost](repeating: ctldctl_lost(), count: Int(ctldctl_recorder_processors(recorder)))
    guard ctldctl_recorder_lost(recorder, &lost) == 0 else { return [] }
    return lost.enumerated().filter { $0.element.stretches > 0 || $0.element.wakeups > 0 }.map {
      Lost(
        cpu: $0.offset, stretches: $0.element.stretches, ran: $0.element.ran, wakeups: $0.element.wakeups)
    }
  }
}

/// Calls with a descriptor of each map, which are open meanwhile.
private func withDescriptors(_ maps: [FoundMap], _ body: ([Int32]) -> Int32) throws(Failure) -> Int32 {
  var descriptors: [Int32] = []
  defer { descriptors.forEach { _ = close($0) } }
  for map in maps {
    let descriptor = try map.open()
    descriptors.append(fcntl(descriptor.number, F_DUPFD_CLOEXEC, 0))
  }
  return body(descriptors)
}

extension ReportedStretch {
  init(_ stretch: ctldctl_stretch) {
    self.init(
      begin: stretch.begin, end: stretch.end, cpu: Int(stretch.cpu),
      task: RecordedTask(
        tid: stretch.tid, pid: stretch.tgid, started: stretch.start_boottime,
        comm: characters(of: stretch.comm), process: characters(of: stretch.leader_comm)),
      before: RecordedValue(stretch.before), after: RecordedValue(stretch.after), ran: stretch.ran,
      wakeup: stretch.wakeup == UInt64.max ? nil : stretch.wakeup, isSample: stretch.is_sample != 0)
  }
}

extension RecordedValue {
  init?(_ reading: ctldctl_reading) {
    guard reading.size > 0 else { return nil }
    let length = min(Int(reading.size), Self.mostBytes)
    self.init(size: Int(reading.size), bytes: withUnsafeBytes(of: reading.bytes) { Array($0.prefix(length)) })
  }
}

/// A line on a terminal that says once a second how it goes.
private struct Progress {
  private let name: String
  private let isShown = isatty(2) == 1
  private var shown: UInt64 = 0
  private var seconds: UInt64 = 0

  init(name: [UInt8]) { self.name = escaped(name) }

  mutating func isDue(since origin: UInt64) -> Bool {
    seconds = (ctldctl_monotonic_ns() - origin) / 1_000_000_000
    return isShown && seconds > shown
  }

  mutating func show(_ writer: RecordingWriter, lost: [Lost]) {
    shown = seconds
    let missing = lost.reduce(0) { $0 + $1.stretches }
    let line =
      "recording \(name): \(seconds) s, \(grouped(writer.switchCount)) switches, "
      + "\(writer.valuesInWords)\(missing > 0 ? ", \(grouped(missing)) lost" : "") (Ctrl-C ends)"
    var size = winsize()
    let isKnown = ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1
    put("\r\u{1b}[K" + cut(line, to: isKnown ? Int(size.ws_col) - 1 : 79))
  }

  func clear() {
    if shown > 0 { put("\r\u{1b}[K") }
  }

  private func put(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
  }
}
