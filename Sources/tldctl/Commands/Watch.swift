// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl watch: threads, values and changes per second, live.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

struct Watch: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show threads, values and changes per second, live.",
    discussion: """
      On a terminal: a table as top(1) has it; 'h' shows the keys, 'q' ends it. Elsewhere, or \
      with --json, what each reading finds, one after the other.

      Changes are differences between two readings: a value that changes faster than the \
      interval counts as one change a reading. Rates are over the last 10 readings. A value \
      that changed while it was read is marked torn if it may be a mixture.

      With --pid it ends when that process has ended.
      """)

  @Argument(help: "Only these TLDs, in this order.")
  var name: [String] = []

  @Option(name: .shortAndLong, help: "Only this process.")
  var pid: UInt32?

  @Option(name: .shortAndLong, help: "Only processes whose command name matches this shell pattern.")
  var comm: String?

  @Option(name: .shortAndLong, help: "Seconds from one reading to the next, 0.05 to 86400.")
  var interval = 1.0

  @Option(name: [.customShort("n"), .long], help: "End after so many readings.")
  var iterations: Int?

  @Option(help: ArgumentHelp("Sort by pid, tid, comm, changes, a TLD's name, or NAME/s for its changes.", valueName: "column"))
  var sort = "changes"

  @Flag(help: "The other way round.")
  var reverse = false

  @OptionGroup var maps: MapOptions
  @OptionGroup var types: TypeOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard interval >= 0.05, interval <= 86400 else {
      throw ValidationError("--interval takes 0.05 to 86400 seconds")
    }
    if let iterations, iterations < 1 { throw ValidationError("--iterations takes 1 or more") }
  }

  func run() throws {
    let source = WatchSource(
      word: maps.map, selection: pid.map { .process($0) } ?? .all,
      table: WatchTable(WatchSelection(names: name, comm: comm)))
    if let pid { try requireProcess(pid) }
    var view = WatchView()
    view.sort = WatchColumn(sort)
    view.isReversed = reverse
    let pace = Pace(interval: interval, iterations: iterations)
    let types = try self.types.parsed()
    try source.read()
    if !output.json, environment("TERM") != "dumb", ctldctl_screen_open() == 0 {
      var screen = WatchScreen(source: source, view: view, types: types, pace: pace, usesColor: output.usesColor)
      defer { ctldctl_screen_close() }
      try screen.run()
    } else {
      var stream = WatchStream(source: source, view: view, types: types, pace: pace, isJSON: output.json)
      try stream.run()
      try explainNothing(source)
    }
    if let pid, source.hasEnded { complain("process \(pid) has ended") }
  }

  /// What was asked for and was never there is "not found"; nobody at all is not.
  private func explainNothing(_ source: WatchSource) throws {
    guard !source.hasSeen else { return }
    let who = pid.map { "process \($0)" } ?? comm.map { "a process '\(escaped($0))'" } ?? "a process"
    if !name.isEmpty {
      throw Failure(
        .notFound, "no thread of \(who) has \(name.map { "'\(escaped($0))'" }.joined(separator: " or "))",
        advice: "'tldctl list' shows what there is")
    }
    if let pid { throw Failure(.notFound, "process \(pid) publishes nothing") }
    if !output.json { complain(source.note.isEmpty ? "no \(who.dropFirst(2)) publishes anything" : source.note) }
  }
}

/// Seconds of a clock that only goes forward, and not while the machine sleeps.
func monotonicSeconds() -> Double { seconds(of: CLOCK_MONOTONIC) }

/// Seconds that this process has had of processors.
func processorSeconds() -> Double { seconds(of: CLOCK_PROCESS_CPUTIME_ID) }

private func seconds(of clock: clockid_t) -> Double {
  var now = timespec()
  clock_gettime(clock, &now)
  return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}

/// When to read again.
///
/// A watch keeps the maps that it reads, and two could keep for each other one that nobody else
/// has. So every `round` seconds, by the clock that all on the machine share, none reads for
/// `grace` seconds, and all have let go: in that time the kernel frees what nobody has.
struct Pace {
  private static let round = 10.0, grace = 0.5

  let interval: Double
  private var left: Int?
  private var next: Double

  init(interval: Double, iterations: Int?) {
    self.interval = interval
    left = iterations
    next = monotonicSeconds()
  }

  /// After a reading that took so much of a processor: half of one at most is taken. Returns
  /// whether to let go of the maps until the next one.
  mutating func readingEnded(after took: Double) -> Bool {
    left = left.map { $0 - 1 }
    let now = monotonicSeconds(), shared = seconds(of: CLOCK_REALTIME) - now
    // Readings that were missed, in a pause for instance, are not made up for.
    next = max(next + interval > now ? next + interval : now + interval, now + took)
    let graceEnd = ((next + shared) / Self.round).rounded(.down) * Self.round - shared + Self.grace
    next = max(next, graceEnd)
    return now < graceEnd
  }

  var isOver: Bool { left.map { $0 <= 0 } ?? false }
  var milliseconds: Int32 { Int32(max(0, ((next - monotonicSeconds()) * 1000).rounded(.up))) }
}
