// SPDX-License-Identifier: GPL-2.0-or-later
// The control API: libqb IPC, each way one libqb header and one JSON text.
//
// Requests: {"api":1,"request":"status"|"map"|"dump"|"fenced"|"rate", ...}. Answers: {"ok":true, ...} or {"ok":false,"error":"..."}.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace proto::control {

inline constexpr char kService[] = "clogd";
inline constexpr int32_t kApi = 1;
inline constexpr int32_t kMessageId = 1;
inline constexpr uint32_t kMaxRequestBytes = 64 << 10;
inline constexpr uint32_t kMaxAnswerBytes = 4 << 20;
inline constexpr size_t kMaxName = 64;
inline constexpr char kNameRule[] = "a name of 1 to 64 letters, digits, '-', '_' and '.'";
inline constexpr uint32_t kMaxRanges = 20000;  // of one set, in an answer to "map"

// The name is an abstract socket's and part of names of files: what libqb would cut off or take for a folder could never be reached.
inline bool valid_name(std::string_view name) {
    return !name.empty() && name.size() <= kMaxName && name.front() != '.' && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    });
}

}  // namespace proto::control
