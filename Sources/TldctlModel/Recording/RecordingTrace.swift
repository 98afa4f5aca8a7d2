// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording in the Chrome trace event format: a track for each processor, with a slice for
// each stretch named after the value, and one for each thread, where the waiting is, too.

public struct RecordingTrace {
  private let recording: Recording
  /// As JSON, of each value, and of each task; the last ones are those of the others.
  private let titles: [String]
  private let comms: [String]
  private var bytes: [UInt8] = []
  private var isFirst = true

  /// Linux has no thread id as large: the tracks of processors are apart from all threads.
  private static let processors: UInt32 = 1 << 22

  /// Calls with piece after piece: a trace is ten times as large as its recording.
  public static func write(_ recording: Recording, _ naming: ValueNames, to output: ([UInt8]) -> Void) {
    var trace = RecordingTrace(recording: recording, naming: naming)
    trace.bytes += "{\"displayTimeUnit\": \"ns\",\n\"otherData\": ".utf8
    trace.bytes += trace.about
    trace.bytes += ",\n\"traceEvents\": [".utf8
    trace.addNames()
    for number in inTime(recording.stretches) {
      trace.add(recording.stretches[number])
      guard trace.bytes.count > 1 << 16 else { continue }
      output(trace.bytes)
      trace.bytes.removeAll(keepingCapacity: true)
    }
    output(trace.bytes + "\n]}\n".utf8)
  }

  private static func inTime(_ stretches: [Stretch]) -> [Int] {
    stretches.indices.sorted {
      let one = stretches[$0], other = stretches[$1]
      return (one.begin, one.end) < (other.begin, other.end)
    }
  }

  private init(recording: Recording, naming: ValueNames) {
    self.recording = recording
    titles = (0...recording.values.count).map { Self.text(naming.text($0)) }
    comms = (recording.tasks + [.others]).map { Self.text(escaped($0.comm)) }
  }

  private var about: [UInt8] {
    let fields: [(String, JSON)] = [
      ("tool", .string(recording.header.tool)), ("kernel", .string(recording.header.kernel)),
      ("name", .text(recording.header.name)), ("lost_stretches", .string(String(recording.end.lostStretches))),
      ("lost_wakeups", .string(String(recording.end.lostWakeups))),
    ]
    return Array(JSON.object(fields).serialized.dropLast())
  }

  private mutating func addNames() {
    name("process_name", pid: Self.processors, tid: Self.processors, "Processors by \(escaped(recording.header.name))")
    for cpu in recording.header.cpus {
      name("thread_name", pid: Self.processors, tid: Self.processors + UInt32(cpu), "CPU \(cpu)")
    }
    var named = Set<UInt32>()
    for task in recording.tasks {
      if named.insert(task.pid).inserted { name("process_name", pid: task.pid, tid: task.pid, escaped(task.process)) }
      name("thread_name", pid: task.pid, tid: task.tid, escaped(task.comm))
    }
  }

  private mutating func add(_ stretch: Stretch) {
    guard let value = stretch.value else { return }
    let task = recording.task(stretch.task), title = titles[min(value, titles.count - 1)]
    let length = stretch.end - stretch.begin
    slice(
      title, "on-cpu", pid: Self.processors, tid: Self.processors + UInt32(stretch.cpu), stretch.begin, length,
      "\"pid\":\(task.pid),\"tid\":\(task.tid),\"comm\":\(comms[min(stretch.task, comms.count - 1)]),\"mixed\":\(stretch.isMixed)")
    guard stretch.task < recording.tasks.count else { return }
    if let waited = stretch.wakeup, waited <= stretch.begin {
      slice(
        "\"woken, waits\"", "wake-up", pid: task.pid, tid: task.tid, stretch.begin - waited, waited,
        "\"latency_ns\":\(waited)")
    }
    slice(
      title, "on-cpu", pid: task.pid, tid: task.tid, stretch.begin, length,
      "\"cpu\":\(stretch.cpu),\"ran_ns\":\(stretch.ran),\"mixed\":\(stretch.isMixed)")
  }

  private mutating func name(_ kind: String, pid: UInt32, tid: UInt32, _ name: String) {
    event("{\"ph\":\"M\",\"name\":\"\(kind)\",\"pid\":\(pid),\"tid\":\(tid),\"args\":{\"name\":\(Self.text(name))}}")
  }

  private mutating func slice(
    _ title: String, _ category: String, pid: UInt32, tid: UInt32, _ begin: UInt64, _ length: UInt64, _ args: String
  ) {
    event(
      "{\"ph\":\"X\",\"name\":\(title),\"cat\":\"\(category)\",\"pid\":\(pid),\"tid\":\(tid),"
        + "\"ts\":\(micros(begin)),\"dur\":\(micros(length)),\"args\":{\(args)}}")
  }

  private mutating func event(_ json: String) {
    bytes += (isFirst ? "\n" : ",\n").utf8
    isFirst = false
    bytes += json.utf8
  }

  private static func text(_ string: String) -> String {
    String(decoding: JSON.string(string).serialized.dropLast(), as: UTF8.self)
  }

  /// The format's unit is the microsecond.
  private func micros(_ time: UInt64) -> String {
    let rest = String(time % 1000)
    return "\(time / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
  }
}
