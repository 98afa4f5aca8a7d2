// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What tldctl record saw: stretches of time that threads had a processor, with the value of
// one TLD at both ends of each.

/// A value of the TLD, as its bytes.
public struct RecordedValue: Hashable, Sendable {
  /// Of the TLD; `bytes` are no more than `mostBytes` of it.
  public let size: Int
  public let bytes: [UInt8]

  public static let mostBytes = 32

  public init(size: Int, bytes: [UInt8]) {
    self.size = size
    self.bytes = bytes
  }

  public var isCut: Bool { bytes.count < size }
}

/// A thread. Its names are the last ones that it had.
public struct RecordedTask: Equatable, Sendable {
  public var tid: UInt32
  public var pid: UInt32
  /// Nanoseconds since boot.
  public var started: UInt64
  public var comm: [UInt8]
  public var process: [UInt8]

  public init(tid: UInt32, pid: UInt32, started: UInt64, comm: [UInt8], process: [UInt8]) {
    self.tid = tid
    self.pid = pid
    self.started = started
    self.comm = comm
    self.process = process
  }
}

public struct RecordedMap: Equatable, Sendable {
  public let id: UInt32
  public let name: [UInt8]
  public let format: String

  public init(id: UInt32, name: [UInt8], format: String) {
    self.id = id
    self.name = name
    self.format = format
  }
}

/// A thread had a processor from begin to end. Times are nanoseconds, from the recording's
/// beginning.
public struct Stretch: Equatable, Sendable {
  public var begin: UInt64
  public var end: UInt64
  public var cpu: Int
  /// Index of the task. Those that the recording does not tell apart lead beyond the last one.
  public var task: Int
  /// Indices of values, likewise; nil: the thread did not share the TLD then.
  public var before: Int?
  public var after: Int?
  /// By the scheduler's clock, which leaves out what interrupts and hypervisors took.
  public var ran: UInt64
  /// How long it waited for the processor after it was woken, if it was.
  public var wakeup: UInt64?
  /// Ended by a reading in between, not by a switch.
  public var isSample: Bool

  public init(
    begin: UInt64, end: UInt64, cpu: Int, task: Int, before: Int?, after: Int?, ran: UInt64,
    wakeup: UInt64? = nil, isSample: Bool = false
  ) {
    self.begin = begin
    self.end = end
    self.cpu = cpu
    self.task = task
    self.before = before
    self.after = after
    self.ran = ran
    self.wakeup = wakeup
    self.isSample = isSample
  }

  /// What its time is charged to: what the thread said last.
  public var value: Int? { after ?? before }
  /// The value changed meanwhile, nobody saw when.
  public var isMixed: Bool { before != after }
}

/// What a processor found no space for.
public struct Lost: Equatable, Sendable {
  public let cpu: Int
  /// In the ring buffer.
  public let stretches: UInt64
  public let ran: UInt64
  /// Threads were woken up, nobody noted when.
  public let wakeups: UInt64

  public init(cpu: Int, stretches: UInt64, ran: UInt64, wakeups: UInt64) {
    self.cpu = cpu
    self.stretches = stretches
    self.ran = ran
    self.wakeups = wakeups
  }
}

/// What is known when a recording begins.
public struct RecordingHeader: Equatable, Sendable {
  public var tool = ""
  public var kernel = ""
  /// The TLD's.
  public var name: [UInt8] = []
  public var pid: UInt32?
  /// Nanoseconds since 1970.
  public var began: UInt64 = 0
  /// Those online.
  public var cpus: [Int] = []
  public var maps: [RecordedMap] = []
  /// Readings a second between switches; 0: none.
  public var sampleRate = 0

  public init() {}
}

/// What is known when it ends.
public struct RecordingEnd: Equatable, Sendable {
  public var duration: UInt64 = 0
  public var lost: [Lost] = []
  /// How often the kernel did not run our programs.
  public var missed: UInt64 = 0

  public init() {}

  public var lostStretches: UInt64 { lost.reduce(0) { $0.plus($1.stretches) } }
  public var lostTime: UInt64 { lost.reduce(0) { $0.plus($1.ran) } }
  public var lostWakeups: UInt64 { lost.reduce(0) { $0.plus($1.wakeups) } }
}

public struct Recording: Equatable, Sendable {
  public var header = RecordingHeader()
  public var stretches: [Stretch] = []
  public var tasks: [RecordedTask] = []
  public var values: [RecordedValue] = []
  public var end = RecordingEnd()

  public init() {}

  public static let format = "tldctl-record"
  public static let version = 2
  /// What a row of a file has, in this order.
  public static let columns = [
    "begin_ns", "end_ns", "cpu", "task", "before", "after", "ran_ns", "wakeup_ns", "sample",
  ]

  /// Where an index leads.
  func task(_ index: Int) -> RecordedTask { index < tasks.count ? tasks[index] : .others }
}

extension RecordedTask {
  /// All that are not told apart. No task has these ids.
  static let others = RecordedTask(tid: 0, pid: 0, started: 0, comm: Array("others".utf8), process: Array("others".utf8))
}

extension UInt64 {
  /// A file may say anything: sums stop at the largest number.
  func plus(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
