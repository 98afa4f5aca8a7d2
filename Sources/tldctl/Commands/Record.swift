// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl record: which value of a TLD has the processors, into a file.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

struct Record: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Record which value of a TLD has the processors.",
    discussion: """
      Ends after --duration, or by Ctrl-C; either leaves a complete file, of which 'tldctl report' \
      makes tables and pictures. A thread's value is read when it gets a processor, when it \
      leaves it, and --sample times a second in between.
      """)

  @Argument(help: "The TLD's name, as list shows it.")
  var name: String

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The file; - is standard output.", valueName: "file"))
  var output: String

  @Option(name: .shortAndLong, help: ArgumentHelp("End after so many seconds.", valueName: "seconds"))
  var duration: Double?

  @Option(name: .shortAndLong, help: "Only this process.")
  var pid: UInt32?

  @OptionGroup var maps: MapOptions

  @Option(help: ArgumentHelp("Readings a second of a thread that stays on its processor; 0: none.", valueName: "hz"))
  var sample: UInt32 = 100

  @Option(help: ArgumentHelp("Size of the ring buffer.", valueName: "KiB"))
  var buffer: UInt32 = 8192

  @Option(help: ArgumentHelp("Values that are told apart: those with the most time. The others are together.", valueName: "n"))
  var values = 10000

  func validate() throws {
    let length = (unescaped(name) ?? Array(name.utf8)).count
    guard (1...61).contains(length) else { throw ValidationError("a TLD's name has 1 to 61 bytes, and '\(escaped(name))' has \(length)") }
    if let duration, !(duration > 0 && duration <= 1e7) { throw ValidationError("--duration takes more than 0 and at most 10000000 seconds") }
    guard (1...(1 << 20)).contains(buffer) else { throw ValidationError("--buffer takes 1 to 1048576 KiB") }
    guard (1...1_000_000).contains(values) else { throw ValidationError("--values takes 1 to 1000000") }
    guard sample <= 10000 else { throw ValidationError("--sample takes 0 to 10000") }
  }

  func run() throws {
    if let pid { try requireProcess(pid) }
    var chosen = try recorded()
    let signals = try Recorder.signals()
    var file = try ReplacedFile(output)
    let recorder = try load(&chosen)
    let (writer, end) = try recorder.run(header(chosen), values: values, seconds: duration, until: signals, into: file)
    try file.finish()
    try conclude(writer, end)
  }

  /// A map may go between the look at the system's maps and its opening: then look again.
  private func load(_ chosen: inout [FoundMap]) throws(Failure) -> Recorder {
    var tries = 20
    while true {
      do throws(Failure) {
        return try Recorder(chosen, name: bytesOfName, pid: pid, ringBytes: ringBytes)
      } catch {
        tries -= 1
        guard error.status == .notFound, maps.map == nil, tries > 0 else { throw error }
        chosen = try recorded()
      }
    }
  }

  private var bytesOfName: [UInt8] { unescaped(name) ?? Array(name.utf8) }

  /// A ring buffer's size is a power of two, and of pages.
  private var ringBytes: UInt32 {
    var bytes = UInt32(getpagesize())
    while bytes < buffer << 10 { bytes <<= 1 }
    return bytes
  }

  private func recorded() throws(Failure) -> [FoundMap] {
    let all = try FoundMap.chosen(by: maps.map)
    guard !all.isEmpty else {
      throw Failure(.notFound, "there is no task local data map", advice: "start the scheduler or tracer that reads hints, or make one by 'tldctl map create'")
    }
    let most = Int(CTLDCTL_RECORDED_MAPS)
    let chosen = all.count <= most ? all : all.filter(hasName)
    guard !chosen.isEmpty else {
      throw Failure(.notFound, "nobody shares a TLD '\(escaped(bytesOfName))' in the \(all.count) task local data maps", advice: "choose one of them by --map to wait for it")
    }
    guard chosen.count <= most else {
      throw Failure(.usage, "\(chosen.count) task local data maps have a TLD '\(escaped(bytesOfName))', and \(most) can be recorded at a time", advice: "choose one by --map")
    }
    return chosen
  }

  /// Whether somebody, or the process that was asked for, shares the TLD there now.
  private func hasName(_ map: FoundMap) -> Bool {
    guard let reader = try? MapReader(map), let snapshot = try? reader.snapshot(pid.map { .process($0) } ?? .all)
    else { return false }
    return snapshot.pages.contains { $0.tld(named: bytesOfName) != nil }
  }

  private func header(_ chosen: [FoundMap]) -> RecordingHeader {
    var header = RecordingHeader(), system = utsname()
    uname(&system)
    header.tool = "tldctl \(String(cString: ctldctl_version()))"
    header.kernel = escaped(characters(of: system.release))
    header.name = bytesOfName
    header.pid = pid
    header.cpus = processorList(contents(of: "/sys/devices/system/cpu/online") ?? [])
    header.maps = chosen.map { RecordedMap(id: $0.id, name: $0.name, format: $0.format.rawValue) }
    header.sampleRate = Int(sample)
    return header
  }

  private func conclude(_ writer: RecordingWriter, _ end: RecordingEnd) throws(Failure) {
    var words = "\(escaped(output)): \(TldctlModel.duration(end.duration)), \(grouped(writer.switchCount)) switches, \(writer.valuesInWords)"
    if writer.hasOtherValues { words += ": the others are together; --values keeps more" }
    if writer.hasOtherTasks { words += "; more than \(grouped(writer.taskCount)) threads: the others are together" }
    if end.lostStretches > 0 || end.missed > 0 {
      words += "; LOST \(grouped(end.lostStretches)) stretches with \(TldctlModel.duration(end.lostTime)) on processors"
      if end.missed > 0 { words += " and \(grouped(end.missed)) events that the kernel skipped" }
      words += ": record again with a larger --buffer than \(ringBytes >> 10)"
    }
    if end.lostWakeups > 0 { words += "; LOST the latencies of \(grouped(end.lostWakeups)) wake-ups" }
    complain(words)
    guard writer.stretchCount == 0, end.lostStretches == 0 else { return }
    throw Failure(
      .notFound, "no thread with a TLD '\(escaped(bytesOfName))' was on a processor",
      why: "nobody shares it in the maps that were recorded, or they all slept", advice: "'tldctl list' shows who shares what")
  }
}

/// "0-3,8" as numbers.
private func processorList(_ text: [UInt8]) -> [Int] {
  text.prefix { $0 != UInt8(ascii: "\n") }.split(separator: UInt8(ascii: ",")).flatMap { part -> [Int] in
    let ends = part.split(separator: UInt8(ascii: "-")).compactMap { Int(String(decoding: $0, as: UTF8.self)) }
    guard let first = ends.first, let last = ends.last, first <= last else { return [] }
    return Array(first...last)
  }
}
