/* SPDX-License-Identifier: GPL-2.0 */
/* The few of the kernel's own words that dm-mpath's plain C files use, for compiling them without a kernel. */
#ifndef TESTS_DM_MPATH_KERNEL_H
#define TESTS_DM_MPATH_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef struct {
	int counter;
} atomic_t;
typedef struct {
	long long counter;
} atomic64_t;

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define U32_MAX UINT32_MAX
#define U64_MAX UINT64_MAX
#define scnprintf pure_print

static inline int atomic_read(const atomic_t *v)
{
	return READ_ONCE(v->counter);
}

static inline int atomic_inc_return(atomic_t *v)
{
	return __atomic_add_fetch(&v->counter, 1, __ATOMIC_RELAXED);
}

static inline void atomic_inc(atomic_t *v)
{
	atomic_inc_return(v);
}

static inline int atomic_dec_return(atomic_t *v)
{
	return __atomic_sub_fetch(&v->counter, 1, __ATOMIC_RELAXED);
}

static inline long long atomic64_read(const atomic64_t *v)
{
	return READ_ONCE(v->counter);
}

static inline void atomic64_add(long long n, atomic64_t *v)
{
	__atomic_add_fetch(&v->counter, n, __ATOMIC_RELAXED);
}

static inline void atomic64_sub(long long n, atomic64_t *v)
{
	__atomic_sub_fetch(&v->counter, n, __ATOMIC_RELAXED);
}

static inline u64 div64_u64(u64 a, u64 b)
{
	return a / b;
}

/* Bytes that were really put, unlike snprintf(). */
__attribute__((format(printf, 3, 4))) static inline int pure_print(char *to, size_t room,
								   const char *format, ...)
{
	__builtin_va_list values;
	int n;

	if (!room)
		return 0;
	__builtin_va_start(values, format);
	n = vsnprintf(to, room, format, values);
	__builtin_va_end(values);
	return (size_t)n < room ? n : (int)room - 1;
}

#endif
