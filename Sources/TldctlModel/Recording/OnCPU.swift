// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording in numbers: on-CPU time, switches and wake-up latencies per value, and per
// process.

/// Wake-up latencies of one kind.
public struct Latencies: Equatable, Sendable {
  private var sorted: [UInt64] = []

  public init(_ latencies: some Sequence<UInt64>) { sorted = latencies.sorted() }

  public var count: Int { sorted.count }
  public var largest: UInt64? { sorted.last }

  /// The nearest rank: the smallest of them that at least that many of a hundred do not
  /// exceed. Always one that occurred; nil if there is none.
  public func percentile(_ percent: Int) -> UInt64? {
    guard !sorted.isEmpty else { return nil }
    let rank = (sorted.count * percent + 99) / 100
    return sorted[min(max(rank, 1), sorted.count) - 1]
  }
}

/// What one value, or all values of a process, had of the processors.
public struct Use: Equatable, Sendable {
  public var ran: UInt64 = 0
  /// How often a thread with it was switched out.
  public var switches = 0
  /// Time in stretches at whose ends the thread had different values.
  public var mixed: UInt64 = 0
  public var latencies = Latencies([])
}

public struct ValueUse: Equatable, Sendable {
  /// Index in the recording.
  public let value: Int
  public let use: Use
}

public struct ProcessUse: Equatable, Sendable {
  public let pid: UInt32
  public let name: [UInt8]
  public let threads: Int
  public let use: Use
  public let values: [ValueUse]
}

public struct OnCPU: Equatable, Sendable {
  public let all: Use
  /// Most time first.
  public let values: [ValueUse]
  public let processes: [ProcessUse]

  public init(_ recording: Recording) {
    var all = Tally(), values: [Int: Tally] = [:], processes: [UInt32: ProcessTally] = [:]
    for stretch in recording.stretches {
      all.add(stretch)
      processes[recording.tasks[stretch.task].pid, default: ProcessTally()].add(stretch)
      if let value = stretch.value { values[value, default: Tally()].add(time: stretch) }
      if let value = stretch.before ?? stretch.after { values[value, default: Tally()].add(wakeup: stretch) }
    }
    self.all = all.use
    self.values = Self.sorted(values)
    self.processes = processes.map { $0.value.use(pid: $0.key, recording) }
      .sorted { ($1.use.ran, $0.pid) < ($0.use.ran, $1.pid) }
  }

  fileprivate static func sorted(_ tallies: [Int: Tally]) -> [ValueUse] {
    tallies.map { ValueUse(value: $0.key, use: $0.value.use) }
      .sorted { ($1.use.ran, $0.value) < ($0.use.ran, $1.value) }
  }
}

private struct Tally {
  var ran: UInt64 = 0, switches = 0, mixed: UInt64 = 0
  var latencies: [UInt64] = []

  mutating func add(_ stretch: Stretch) {
    add(time: stretch)
    add(wakeup: stretch)
  }

  /// Charged to what the thread said last.
  mutating func add(time stretch: Stretch) {
    ran = ran.plus(stretch.ran)
    if !stretch.isSample { switches += 1 }
    if stretch.isMixed { mixed = mixed.plus(stretch.ran) }
  }

  /// It waited with the value that it had when it came.
  mutating func add(wakeup stretch: Stretch) {
    if let wakeup = stretch.wakeup { latencies.append(wakeup) }
  }

  var use: Use {
    Use(ran: ran, switches: switches, mixed: mixed, latencies: Latencies(latencies))
  }
}

private struct ProcessTally {
  var all = Tally()
  var values: [Int: Tally] = [:]
  var tasks = Set<Int>()
  var last = 0

  mutating func add(_ stretch: Stretch) {
    all.add(stretch)
    tasks.insert(stretch.task)
    last = stretch.task
    if let value = stretch.value { values[value, default: Tally()].add(time: stretch) }
    if let value = stretch.before ?? stretch.after { values[value, default: Tally()].add(wakeup: stretch) }
  }

  func use(pid: UInt32, _ recording: Recording) -> ProcessUse {
    ProcessUse(
      pid: pid, name: recording.tasks[last].process, threads: tasks.count, use: all.use,
      values: OnCPU.sorted(values))
  }
}
