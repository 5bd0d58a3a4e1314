// SPDX-License-Identifier: GPL-2.0-or-later
// What a trace says of messages, events and words to a kernel.
#pragma once

#include <array>
#include <string>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "clogd/core/event.hh"
#include "proto/channel.h"
#include "proto/wire.hh"

namespace sim {

inline std::string in_words(const std::vector<clogd::Range>& ranges) {
    std::string out;
    for (size_t i = 0; i < ranges.size() && i < 8; ++i) out += fmt::format("{}{}+{}", i ? "," : "", ranges[i].start, ranges[i].count);
    return ranges.empty() ? "-" : ranges.size() > 8 ? out + ",..." : out;
}

// Prints the fields of a message in their order, as the wire has them.
class Fields {
  public:
    static constexpr bool reading = false;
    template <class T>
    void operator()(const T& v) {
        if constexpr (std::is_enum_v<T>) text_ += fmt::format(" {}", static_cast<uint64_t>(v));
        else if constexpr (std::is_integral_v<T>) text_ += fmt::format(" {}", v);
        else if constexpr (std::is_same_v<T, std::string>) text_ += " " + v;
        else if constexpr (std::is_same_v<T, std::vector<clogd::Range>>) text_ += " " + in_words(v);
        else if constexpr (requires { v.size(); }) text_ += fmt::format(" [{}]", v.size());
        else const_cast<T&>(v).fields(*this);
    }
    const std::string& text() const { return text_; }

  private:
    std::string text_;
};

inline std::string in_words(const proto::wire::Body& body) {
    static constexpr std::array kNames = {"Hello",   "Attach",  "Refuse", "Chunk",   "Ready",  "Detach",  "Folded", "DeadMarks", "LegFailed",  "BusyReport",
                                          "Change",  "Lease",   "Want",   "Trouble", "Mark",   "MarkAck", "Point",  "Digest",    "Diverged",   "Fenced",
                                          "Suspect", "LegVote", "LegAck", "Return",  "Missed", "Rate",    "Voice",  "Switched",  "Foreground", "Repair"};
    static_assert(kNames.size() == std::variant_size_v<proto::wire::Body>);
    Fields fields;
    std::visit([&](const auto& b) { fields(b); }, body);
    return kNames[body.index()] + fields.text();
}

inline std::string in_words(const clogd::out::Tell& t) {
    const char* name = "?";
    switch (t.type) {
        case CLOG_STATE: name = "STATE"; break;
        case CLOG_SYNCED: name = "SYNCED"; break;
        case CLOG_UNSYNCED: name = "UNSYNCED"; break;
        case CLOG_CLOSE: name = "CLOSE"; break;
        case CLOG_MARKED: name = "MARKED"; break;
        case CLOG_TOLD: name = "TOLD"; break;
        case CLOG_LEGS: name = "LEGS"; break;
        case CLOG_RETRY: name = "RETRY"; break;
        case CLOG_GROUP: name = "GROUP"; break;
        case CLOG_TAKEN: name = "TAKEN"; break;
        case CLOG_PAUSE: name = "PAUSE"; break;
        default: break;
    }
    return fmt::format("{} {} value {:#x} serial {}", name, in_words(t.ranges), t.value, t.serial);
}

inline const char* in_words(clogd::ev::Regions::What what) {
    using R = clogd::ev::Regions;
    switch (what) {
        case R::mark: return "MARK";
        case R::clear: return "CLEAR";
        case R::want: return "WANT";
        case R::lost: return "LOST";
        case R::held: return "HELD";
        case R::held_end: return "HELD, all of them";
    }
    return "?";
}

}  // namespace sim
