// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The data maps of the system: found by their types, whoever made them.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

/// A data map of the system; the library calls DataMap what it keeps of one that it publishes in.
struct FoundMap {
  let id: UInt32
  let name: [UInt8]
  let valueSize: Int
  let format: MapFormat
  /// The pin through which it was asked for, which may be all that the caller may open.
  let pin: String?

  /// A descriptor that can read only.
  func open() throws(Failure) -> Descriptor {
    let fd = pin.map { ctldctl_pin_open($0) } ?? ctldctl_map_open(id)
    guard fd >= 0 else {
      throw Failure.system("map \(id) cannot be opened", errno: -fd)
    }
    return Descriptor(fd)
  }

  var title: String { "map \(id) \(escaped(name)) (\(format.rawValue))" }

  var json: JSON {
    .object([
      ("id", .integer(id)), ("name", .text(name)), ("format", .string(format.rawValue)),
      ("value_size", .integer(valueSize)),
    ])
  }

  /// What a descriptor leads to, if that is a data map.
  private init?(_ descriptor: borrowing Descriptor, pin: String?) {
    var map = ctldctl_map()
    guard ctldctl_map_describe(descriptor.number, &map) == 0, map.is_data,
      let format = MapFormat(valueSize: Int(map.value_size))
    else { return nil }
    id = map.id
    name = characters(of: map.name)
    valueSize = Int(map.value_size)
    self.format = format
    self.pin = pin
  }

  /// All data maps, in the order of their ids.
  static func all() throws(Failure) -> [FoundMap] {
    var found: [FoundMap] = []
    var id: UInt32 = 0
    while true {
      let error = ctldctl_map_next(id, &id)
      if error == -ENOENT { return found }
      guard error == 0 else { throw Failure.system("the maps of the system cannot be listed", errno: -error) }
      let fd = ctldctl_map_open(id)
      // It has gone meanwhile.
      if fd == -ENOENT { continue }
      guard fd >= 0 else { throw Failure.system("map \(id) cannot be opened", errno: -fd) }
      if let map = FoundMap(Descriptor(fd), pin: nil) { found.append(map) }
    }
  }

  /// The map that is pinned at a path.
  static func pinned(at path: String) throws(Failure) -> FoundMap {
    let fd = ctldctl_pin_open(path)
    guard fd >= 0 else {
      throw Failure.system(
        "nothing can be opened at \(escaped(path))", errno: -fd,
        advice: -fd == ENOENT ? "'tldctl maps' lists what is there" : "ask for read permission of the pin")
    }
    guard let map = FoundMap(Descriptor(fd), pin: path) else {
      throw Failure(.notFound, "what is pinned at \(escaped(path)) is no task local data map", advice: "'tldctl maps' lists them")
    }
    return map
  }

  /// Those that a person means by an id, a name or the path of a pin; all without.
  static func chosen(by word: String?) throws(Failure) -> [FoundMap] {
    guard let word else { return try all() }
    if word.contains("/") { return [try pinned(at: word)] }
    let wanted = unescaped(word) ?? Array(word.utf8)
    let found = try all().filter { UInt32(word) == $0.id || $0.name == wanted }
    guard !found.isEmpty else {
      throw Failure(.notFound, "there is no task local data map '\(escaped(word))'", advice: "'tldctl maps' lists them")
    }
    return found
  }
}

struct MapOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Only this map: its id, name, or the path of a pin.", valueName: "map"))
  var map: String?
}
