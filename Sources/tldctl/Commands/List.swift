// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl list: processes, their TLDs, threads and values.

import ArgumentParser
import Glibc
import TldctlModel

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show processes, their TLDs, threads and values.",
    discussion: """
      A value is '-' where a thread has no room for the TLD. What is not the running program's \
      is marked: stale (published before an execve), ended, unreadable; a value that changed \
      while it was read is marked torn if it may be a mixture.
      """)

  @Option(name: .shortAndLong, help: "Only this process.")
  var pid: UInt32?

  @Option(name: .shortAndLong, help: "Only processes whose command name matches this shell pattern.")
  var comm: String?

  @OptionGroup var maps: MapOptions
  @OptionGroup var types: TypeOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let types = try self.types.parsed()
    if let pid { try requireProcess(pid) }
    var found: [(map: FoundMap, processes: [ProcessReading])] = []
    for map in try FoundMap.chosen(by: maps.map) {
      guard let processes = try read(map) else { continue }
      found.append((map, processes))
    }
    if output.json {
      tldctl.output(json(found, types).serialized)
    } else {
      show(found, types)
    }
    try explainNothing(found)
  }

  /// Nil where the map has gone meanwhile.
  private func read(_ map: FoundMap) throws(Failure) -> [ProcessReading]? {
    do {
      let reader = try MapReader(map)
      let pattern = comm.map { Pattern($0) }
      return try reader.snapshot(pid.map { .process($0) } ?? .all).processes.filter { process in
        pattern?.matches(process.comm) ?? true
      }
    } catch {
      if error.status == .notFound, map.pin == nil { return nil }
      throw error
    }
  }

  /// A process that was asked for and publishes nothing is "not found"; nobody at all is not.
  private func explainNothing(_ found: [(map: FoundMap, processes: [ProcessReading])]) throws {
    guard found.allSatisfy({ $0.processes.isEmpty }) else { return }
    if let pid {
      throw Failure(
        .notFound, "process \(pid) (\(escaped(comm(of: pid)))) publishes nothing",
        why: found.isEmpty ? "there is no task local data map" : "it has no element in any of \(count(found.count, "map"))")
    }
    guard !output.json else { return }
    complain(found.isEmpty ? "there is no task local data map" : "no process publishes in the \(count(found.count, "map")) asked for")
  }

  private func comm(of pid: UInt32) -> [UInt8] { tldctl.comm(of: pid) }

  private func show(_ found: [(map: FoundMap, processes: [ProcessReading])], _ types: ValueTypes) {
    let limit = outputWidth()
    for (map, processes) in found {
      for process in processes {
        let text = ProcessText(process, map: map, types: types, output: output)
        tldctl.output(lines: text.lines(limit: limit))
      }
    }
  }

  private func json(_ found: [(map: FoundMap, processes: [ProcessReading])], _ types: ValueTypes) -> JSON {
    .object([
      ("command", .string("list")), ("version", .integer(1)),
      ("maps", .array(found.map(\.map.json))),
      ("processes", .array(found.flatMap { map, processes in processes.map { $0.json(map: map, types) } })),
    ])
  }
}

/// `--as`, wherever values are shown or entered.
struct TypeOptions: ParsableArguments {
  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "A TLD's type: u8 to u64, i8 to i64, f32, f64, hex, str. May be repeated.", valueName: "name=type"))
  var types: [String] = []

  func parsed() throws(Failure) -> ValueTypes { try ValueTypes(parsing: types) }
}

/// No such process, or a thread's id in the place of its process's.
func requireProcess(_ pid: UInt32) throws(Failure) {
  guard let status = contents(of: "/proc/\(pid)/status") else {
    throw Failure(.notFound, "there is no process \(pid)")
  }
  guard let tgid = procField("Tgid", in: status), tgid != pid else { return }
  throw Failure(.notFound, "\(pid) is a thread of process \(tgid)", advice: "write \(tgid)/\(pid)")
}
