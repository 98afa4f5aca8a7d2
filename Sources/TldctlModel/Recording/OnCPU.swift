// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording in numbers: on-CPU time, switches and wake-up latencies per value, and per
// process.

/// Wake-up latencies of one kind.
public struct Latencies: Equatable, Sendable {
  fileprivate private(set) var sorted: [UInt64] = []

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

/// A process, or all threads together that the recording does not tell apart: pid 0.
public struct ProcessUse: Equatable, Sendable {
  public let pid: UInt32
  public let name: [UInt8]
  public let threads: Int
  public let use: Use
  public let values: [ValueUse]
  public let others: Use?
}

public struct OnCPU: Equatable, Sendable {
  public let all: Use
  /// Most time first.
  public let values: [ValueUse]
  /// All values together that the recording does not tell apart; nil: there are none.
  public let others: Use?
  public let processes: [ProcessUse]

  public init(_ recording: Recording) {
    var whole = Tallies(known: recording.values.count), processes: [UInt32: ProcessTally] = [:]
    for stretch in recording.stretches {
      whole.add(stretch)
      let task = recording.task(stretch.task)
      processes[task.pid, default: ProcessTally(known: recording.values.count)].add(stretch, of: task)
    }
    all = whole.all.use
    values = whole.sorted
    others = whole.others
    self.processes = processes.map { $0.value.use(pid: $0.key) }
      .sorted { ($1.use.ran, $0.pid) < ($0.use.ran, $1.pid) }
  }

  /// What a table has no row of its own for; nil: nothing.
  func rest(after first: Int) -> Use? { Use.rest(of: values, after: first, others) }
}

extension ProcessUse {
  func rest(after first: Int) -> Use? { Use.rest(of: values, after: first, others) }
}

extension Use {
  fileprivate static func rest(of values: [ValueUse], after first: Int, _ others: Use?) -> Use? {
    let uses = values.dropFirst(first).map(\.use) + (others.map { [$0] } ?? [])
    guard !uses.isEmpty else { return nil }
    var rest = Use()
    for use in uses {
      rest.ran = rest.ran.plus(use.ran)
      rest.switches += use.switches
      rest.mixed = rest.mixed.plus(use.mixed)
    }
    rest.latencies = Latencies(uses.lazy.map(\.latencies.sorted).joined())
    return rest
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

/// Of all values together, and of each.
private struct Tallies {
  /// Values with an index of their own; all others have this one.
  let known: Int
  var all = Tally()
  private var values: [Int: Tally] = [:]

  init(known: Int) { self.known = known }

  mutating func add(_ stretch: Stretch) {
    all.add(stretch)
    if let value = stretch.value { values[min(value, known), default: Tally()].add(time: stretch) }
    if stretch.wakeup != nil, let value = stretch.before ?? stretch.after {
      values[min(value, known), default: Tally()].add(wakeup: stretch)
    }
  }

  var sorted: [ValueUse] {
    values.filter { $0.key < known }.map { ValueUse(value: $0.key, use: $0.value.use) }
      .sorted { ($1.use.ran, $0.value) < ($0.use.ran, $1.value) }
  }

  var others: Use? { values[known]?.use }
}

private struct ProcessTally {
  private var values: Tallies
  private var tasks = Set<Int>()
  private var name: [UInt8] = []

  init(known: Int) { values = Tallies(known: known) }

  mutating func add(_ stretch: Stretch, of task: RecordedTask) {
    values.add(stretch)
    tasks.insert(stretch.task)
    name = task.process
  }

  func use(pid: UInt32) -> ProcessUse {
    ProcessUse(
      pid: pid, name: name, threads: tasks.count, use: values.all.use, values: values.sorted, others: values.others)
  }
}
