// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Where maps are pinned, which programs use them and who holds them open.

import TldctlKernel
import Glibc
import TldctlModel

struct Pin {
  let path: [UInt8]
  let mode: UInt32
  let uid: UInt32
  let gid: UInt32

  var json: JSON {
    .object([
      ("path", .text(path)), ("mode", .string(octal(mode))), ("uid", .integer(uid)), ("gid", .integer(gid)),
      ("user", userName(uid).map { .text($0) } ?? .null), ("group", groupName(gid).map { .text($0) } ?? .null),
    ])
  }

  var text: String {
    let user = userName(uid).map { escaped($0) } ?? "\(uid)", group = groupName(gid).map { escaped($0) } ?? "\(gid)"
    return "\(escaped(path)) \(octal(mode)) \(user):\(group)"
  }
}

/// "0660".
func octal(_ mode: UInt32) -> String {
  let digits = String(mode & 0o7777, radix: 8)
  return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}

func userName(_ uid: UInt32) -> [UInt8]? {
  getpwuid(uid).map { Array(String(cString: $0.pointee.pw_name).utf8) }
}

func groupName(_ gid: UInt32) -> [UInt8]? {
  getgrgid(gid).map { Array(String(cString: $0.pointee.gr_name).utf8) }
}

func status(of path: [UInt8]) -> stat? {
  var found = stat()
  let error = (path + [0]).withUnsafeBytes { lstat($0.bindMemory(to: CChar.self).baseAddress!, &found) }
  return error == 0 ? found : nil
}

func bpfMounts() -> [BPFMount] {
  BPFMount.parse(mountinfo: contents(of: "/proc/self/mountinfo") ?? [])
}

/// All pins of maps, by the map's id, in every BPF file system that is mounted here.
func pinsByMap() -> [UInt32: [Pin]] {
  var found: [UInt32: [Pin]] = [:]
  for mount in bpfMounts() { collectPins(below: mount.path, depth: 0, to: &found) }
  return found
}

/// Deeper than this nobody pins; a loop of mounts would have no end.
private let deepest = 32

private func collectPins(below directory: [UInt8], depth: Int, to found: inout [UInt32: [Pin]]) {
  guard depth < deepest else { return }
  for entry in entries(of: directory) ?? [] {
    let path = directory + [UInt8(ascii: "/")] + entry.name
    guard let status = status(of: path) else { continue }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: collectPins(below: path, depth: depth + 1, to: &found)
    case S_IFREG:
      guard let id = mapID(ofPin: path) else { continue }
      let pin = Pin(path: path, mode: status.st_mode, uid: status.st_uid, gid: status.st_gid)
      // A file system that is mounted twice within another has each pin once.
      if !(found[id] ?? []).contains(where: { $0.path == path }) { found[id, default: []].append(pin) }
    default: break
    }
  }
}

/// The id of the map behind a pin; nil if it is something else, or may not be opened.
private func mapID(ofPin path: [UInt8]) -> UInt32? {
  let fd = (path + [0]).withUnsafeBytes { ctldctl_pin_open($0.bindMemory(to: CChar.self).baseAddress!) }
  guard fd >= 0 else { return nil }
  let pin = Descriptor(fd)
  return mapID(ofDescriptor: "/proc/self/fdinfo/\(pin.number)")
}

/// Programs and links have no map_id.
private func mapID(ofDescriptor fdinfo: String) -> UInt32? {
  contents(of: fdinfo).flatMap { procField("map_id", in: $0) }.map { UInt32(truncatingIfNeeded: $0) }
}

struct BPFProgram {
  let id: UInt32
  let name: [UInt8]
  let type: String

  var json: JSON {
    .object([("id", .integer(id)), ("name", .text(name)), ("type", .string(type))])
  }
}

/// The loaded programs, by the id of each map that they use.
func programsByMap() throws(Failure) -> [UInt32: [BPFProgram]] {
  var found: [UInt32: [BPFProgram]] = [:]
  var id: UInt32 = 0, program = ctldctl_program()
  var maps = [UInt32](repeating: 0, count: Int(CTLDCTL_PROGRAM_MAPS))
  while true {
    let error = ctldctl_program_next(id, &id)
    if error == -ENOENT { return found }
    guard error == 0 else { throw Failure.system("the programs of the system cannot be listed", errno: -error) }
    // It may have gone meanwhile.
    guard ctldctl_program_describe(id, &program, &maps) == 0 else { continue }
    let type = ctldctl_program_type_name(program.type).map { String(cString: $0) } ?? "type \(program.type)"
    let described = BPFProgram(id: id, name: characters(of: program.name), type: type)
    for map in Set(maps.prefix(Int(program.map_count))) { found[map, default: []].append(described) }
  }
}

struct Holder: Hashable {
  let pid: UInt32
  let comm: [UInt8]

  var json: JSON { .object([("pid", .integer(pid)), ("comm", .text(comm))]) }
}

/// The processes that have a descriptor of a map, by its id; this one does not count.
func holdersByMap() -> [UInt32: [Holder]] {
  var found: [UInt32: [Holder]] = [:]
  for pid in numbers(in: "/proc") where pid != UInt32(getpid()) {
    var maps: Set<UInt32> = []
    for fd in numbers(in: "/proc/\(pid)/fd") where isMap("/proc/\(pid)/fd/\(fd)") {
      if let id = mapID(ofDescriptor: "/proc/\(pid)/fdinfo/\(fd)") { maps.insert(id) }
    }
    for id in maps { found[id, default: []].append(Holder(pid: pid, comm: comm(of: pid))) }
  }
  return found
}

/// Saves reading the fdinfo of each file and socket there is.
private func isMap(_ path: String) -> Bool {
  var target = [CChar](repeating: 0, count: 64)
  let length = readlink(path, &target, target.count)
  let wanted = "anon_inode:bpf-map".utf8
  return length == wanted.count && target.prefix(length).elementsEqual(wanted.map { CChar($0) })
}
