// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl maps: every task local data map of the system.

import ArgumentParser
import Glibc
import TldctlModel

struct Maps: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show every task local data map: pins, programs, publishing tasks, holders.",
    discussion: "Maps are known by their types, whoever made them. Pins are those that this mount namespace sees.")

  @OptionGroup var maps: MapOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let chosen = try FoundMap.chosen(by: maps.map)
    let pins = pinsByMap(), programs = try programsByMap(), holders = holdersByMap()
    let found = try chosen.compactMap { map -> MapReport? in
      guard let tasks = try countTasks(map) else { return nil }
      return MapReport(
        map: map, pins: pins[map.id] ?? [], programs: programs[map.id] ?? [], tasks: tasks,
        holders: holders[map.id] ?? [])
    }
    if output.json {
      let json = JSON.object([
        ("command", .string("maps")), ("version", .integer(1)), ("maps", .array(found.map(\.json))),
      ])
      tldctl.output(json.serialized)
    } else if found.isEmpty {
      complain("there is no task local data map")
    } else {
      let limit = outputWidth()
      for report in found { tldctl.output(lines: report.lines(output).map { cut($0, to: limit) }) }
    }
  }

  /// Nil where the map has gone meanwhile.
  private func countTasks(_ map: FoundMap) throws(Failure) -> Int? {
    do {
      let reader = try MapReader(map)
      return try reader.snapshot().records.count
    } catch {
      if error.status == .notFound, map.pin == nil { return nil }
      throw error
    }
  }
}

private struct MapReport {
  let map: FoundMap
  let pins: [Pin]
  let programs: [BPFProgram]
  let tasks: Int
  let holders: [Holder]

  func lines(_ output: OutputOptions) -> [String] {
    var lines = [output.bold("\(map.title), values of \(count(map.valueSize, "byte")), \(count(tasks, "task"))")]
    lines += pins.map { "  pinned at \($0.text)" }
    lines += programs.map { "  used by program \($0.id) \(escaped($0.name)) (\($0.type))" }
    lines += holders.map { "  held by process \($0.pid) \(escaped($0.comm))" }
    return lines
  }

  var json: JSON {
    .object([
      ("id", .integer(map.id)), ("name", .text(map.name)), ("format", .string(map.format.rawValue)),
      ("value_size", .integer(map.valueSize)), ("tasks", .integer(tasks)),
      ("pins", .array(pins.map(\.json))), ("programs", .array(programs.map(\.json))),
      ("holders", .array(holders.map(\.json))),
    ])
  }
}
