// One pool of threads for the whole library.
#pragma once
#include <stdint.h>

namespace puna {

// Calls body(context, i) for each i from 0 to items - 1, shared among the caller and idle workers; returns when all are done. Where another
// thread is using the workers already, the caller does everything itself: two answers side by side never wait for each other, and never
// take more cores than the pool has.
void for_each(int64_t items, void (*body)(const void *context, int64_t item), const void *context);

template <class Body>
void for_each(int64_t items, const Body &body) {
    for_each(items, [](const void *context, int64_t item) { (*static_cast<const Body *>(context))(item); }, &body);
}

void set_threads(int count);
int threads();

} // namespace puna
