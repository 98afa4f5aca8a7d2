// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl get: one value of one thread.

import ArgumentParser
import TldctlModel

struct Get: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show one value of one thread.",
    discussion: "PID alone means the process's first thread.")

  @Argument(help: ArgumentHelp("The process, or one of its threads.", valueName: "pid[/tid]"))
  var thread: ThreadName

  @Argument(help: "The TLD's name, as list shows it.")
  var name: String

  @OptionGroup var maps: MapOptions
  @OptionGroup var types: TypeOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let types = try self.types.parsed()
    let found = try Located.find(thread, name, in: maps.map)
    let type = try types.required(of: found.tld.name, size: found.tld.size)
    if output.json {
      tldctl.output(json(found, type).serialized)
    } else {
      tldctl.output(Value(found.bytes, as: type).text + "\n")
    }
    if found.isTorn {
      complain("the value changed while it was read, and may be a mixture (torn)")
    }
  }

  private func json(_ found: Located, _ type: ValueType) -> JSON {
    .object([
      ("command", .string("get")), ("version", .integer(1)),
      ("pid", .integer(found.record.tgid)), ("tid", .integer(found.record.tid)),
      ("comm", .text(found.record.comm)), ("started_ns", .integer(found.record.startBoottime)),
      ("map", found.map.json), ("tld", found.tld.json),
      ("type", .string(type.rawValue)), ("value", Value(found.bytes, as: type).json),
      ("bytes", .string(hex(found.bytes))), ("torn", .bool(found.isTorn)),
    ])
  }
}

extension ThreadName: ExpressibleByArgument {
  /// The parser's own words would not say what is wrong.
  public init?(argument: String) {
    guard let name = try? ThreadName(parsing: argument) else { return nil }
    self = name
  }
}
