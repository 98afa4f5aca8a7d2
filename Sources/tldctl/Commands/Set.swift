// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl set: one value of one thread, written into the live page.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

struct SetValue: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set",
    abstract: "Write one value of one thread, and say what it replaced.",
    discussion: """
      Into the live page, as a central dispatcher would: the program sees it with its next load. \
      8 and 4 bytes are exchanged atomically; 2 and 1 are stored at once, but what another \
      thread stores between look and store goes unsaid; more bytes are stored one by one. It is \
      written only if the thread is still the one that was looked at, and runs the same program.
      """)

  @Argument(help: ArgumentHelp("The process, or one of its threads.", valueName: "pid[/tid]"))
  var thread: ThreadName

  @Argument(help: "The TLD's name, as list shows it.")
  var name: String

  @Argument(help: "The value, in the TLD's type (--as): decimal or 0x..., for hex all digits.")
  var value: String

  @Flag(name: [.customShort("n"), .long], help: "Check everything, say what would be replaced, write nothing.")
  var dryRun = false

  @OptionGroup var maps: MapOptions
  @OptionGroup var types: TypeOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    let types = try self.types.parsed()
    let found = try Located.find(thread, name, in: maps.map)
    let type = try types.required(of: found.tld.name, size: found.tld.size)
    let after = try type.bytes(of: value, size: found.tld.size)
    let before = try write(after, to: found)
    if output.json {
      tldctl.output(json(found, type, before, after).serialized)
    } else {
      let verb = dryRun ? "would be" : "is"
      tldctl.output(
        "\(escaped(found.tld.name)) of \(found.record.tgid)/\(found.record.tid) (\(escaped(found.record.comm))) \(verb) "
          + "\(Value(after, as: type).text), was \(Value(before, as: type).text)\n")
    }
  }

  /// What was there before.
  private func write(_ bytes: [UInt8], to found: Located) throws(Failure) -> [UInt8] {
    guard bytes.count <= CTLDCTL_SET_MAX else {
      throw Failure(.other, "\(escaped(found.tld.name)) has \(bytes.count) bytes", why: "at most \(CTLDCTL_SET_MAX) can be written")
    }
    let map = try found.map.open()
    var request = found.setRequest(dryRun: dryRun), before = [UInt8](repeating: 0, count: bytes.count)
    let error = loading { ctldctl_set_value(map.number, UInt32(found.map.valueSize), &request, bytes, &before) }
    guard error == 0 else { throw loadFailure("\(found.map.title) cannot be written", -error) }
    try check(ctldctl_set_result(rawValue: request.result), found)
    return before
  }

  private func check(_ result: ctldctl_set_result, _ found: Located) throws(Failure) {
    let who = "thread \(found.record.tid)"
    switch result {
    case CTLDCTL_SET_DONE: return
    case CTLDCTL_SET_NO_TASK: throw Failure(.notFound, "\(who) has ended meanwhile")
    case CTLDCTL_SET_NO_ELEMENT: throw Failure(.notFound, "\(who) publishes nothing any more")
    case CTLDCTL_SET_STALE: throw Failure(.notFound, "\(who) has executed another program meanwhile")
    case CTLDCTL_SET_UNALIGNED:
      throw Failure(.other, "the value of \(who) is not aligned", why: "it cannot be written at once")
    default: throw Failure(.other, "the TLDs of \(who) changed meanwhile", advice: "try again")
    }
  }

  private func json(_ found: Located, _ type: ValueType, _ before: [UInt8], _ after: [UInt8]) -> JSON {
    .object([
      ("command", .string("set")), ("version", .integer(1)), ("dry_run", .bool(dryRun)),
      ("pid", .integer(found.record.tgid)), ("tid", .integer(found.record.tid)),
      ("comm", .text(found.record.comm)), ("started_ns", .integer(found.record.startBoottime)),
      ("map", found.map.json), ("tld", found.tld.json), ("type", .string(type.rawValue)),
      ("before", .object([("value", Value(before, as: type).json), ("bytes", .string(hex(before)))])),
      ("after", .object([("value", Value(after, as: type).json), ("bytes", .string(hex(after)))])),
    ])
  }
}

extension Located {
  /// What the BPF program checks once more before it writes.
  fileprivate func setRequest(dryRun: Bool) -> ctldctl_set {
    var request = ctldctl_set()
    request.tid = record.tid
    request.start_boottime = record.startBoottime
    request.start = UInt32(record.start)
    request.data = record.dataPage
    request.entry = UInt32(tld.index)
    request.off = UInt32(tld.offset)
    request.size = UInt32(tld.size)
    request.dry_run = dryRun ? 1 : 0
    withUnsafeMutableBytes(of: &request.name) { $0.copyBytes(from: page.entry(tld.index)) }
    return request
  }
}
