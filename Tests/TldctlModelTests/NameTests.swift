// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing
import TldctlModel

@Suite struct NameTests {
  @Test("PID is the process's first thread, PID/TID another")
  func threads() throws {
    let first = try ThreadName(parsing: "12"), other = try ThreadName(parsing: "12/34")
    #expect((first.pid, first.tid, first.isExplicit) == (12, 12, false))
    #expect((other.pid, other.tid, other.isExplicit) == (12, 34, true))
    for wrong in ["", "x", "12/", "/3", "1/2/3", "-1", "+1", "0", "99999999999", "1 "] {
      #expect(throws: Failure.self) { try ThreadName(parsing: wrong) }
    }
  }

  @Test("A pattern matches as a shell's does", arguments: [
    ("*", "", true), ("serv*", "server", true), ("serv*", "observer", false), ("*er", "server", true),
    ("s?rver", "server", true), ("s?rver", "srver", false), ("[a-s]*", "server", true), ("[!a-s]*", "server", false),
    ("a*b*c", "axxbyyc", true), ("a*b*c", "axxbyy", false), ("", "", true), ("", "x", false), (#"\*"#, "*", true),
    (#"\*"#, "x", false), ("[", "[", true), ("[]a]x", "]x", true), ("*a", "aaa", true), ("[a-", "[a-", false),
  ])
  func patterns(pattern: String, name: String, isMatch: Bool) {
    #expect(Pattern(pattern).matches(name.utf8) == isMatch)
  }

  @Test("A pattern takes no longer for names that are made for it")
  func patternTime() {
    let name = [UInt8](repeating: 0x61, count: 4000)
    #expect(!Pattern(String(repeating: "a*", count: 200) + "b").matches(name))
  }

  @Test("BPF file systems are found in mountinfo, whatever their path has in it")
  func mounts() {
    let mountinfo = """
      31 23 0:27 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700
      32 23 0:28 / /mnt/a\\040b\\134 rw - bpf none rw
      33 23 0:29 / /bpf rw - tmpfs bpf rw
      31 23 0:27 / /sys/fs/bpf rw - bpf bpf rw
      torn line
      """
    #expect(BPFMount.parse(mountinfo: Array(mountinfo.utf8)).map { String(decoding: $0.path, as: UTF8.self) }
      == ["/sys/fs/bpf", "/mnt/a b\\"])
  }

  @Test("Fields of files of /proc are found by their whole name")
  func fields() {
    let text = Array("map_type:\t29\nxmap_id:\t1\nmap_id:\t77\nSeccomp_filters:\t3\nSeccomp:\t2\n".utf8)
    #expect(procField("map_id", in: text) == 77)
    #expect(procField("Seccomp", in: text) == 2)
    #expect(procField("none", in: text) == nil)
  }

  @Test("A negative value of set is no option")
  func negative() {
    #expect(withNegativeNumberLast(["set", "1", "n", "-5", "--json"]) == ["set", "1", "n", "--json", "--", "-5"])
    #expect(withNegativeNumberLast(["set", "1", "n", "--", "-5"]) == ["set", "1", "n", "--", "-5"])
    #expect(withNegativeNumberLast(["set", "-n", "1", "n", "5"]) == ["set", "-n", "1", "n", "5"])
    #expect(withNegativeNumberLast(["list", "-5"]) == ["list", "-5"])
  }
}
