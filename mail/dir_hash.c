/* dir_hash.c - a bounded queue of hash jobs, worked off by threads.
 *
 * Threads touch nothing but their job; finished ones go on a list, and an eventfd
 * wakes the loop, which calls back.  Passwords are wiped as soon as they are used. */
#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "dir_hash.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

struct job {
	struct job *next;
	char *password;
	char *stored;			/* verify against; NULL: make */
	bool verify, ok;
	char *made;
	dir_hash_cb *cb;
	void *arg;
};

struct dir_hash {
	pthread_t *threads;
	unsigned nthreads, queue_max, cost;
	pthread_mutex_t lock;		/* guards the four below */
	pthread_cond_t more;
	struct job *first, **last, *done;
	unsigned waiting;
	bool ending;
	int wake;			/* eventfd */
	struct event *event;
	char dummy[CRYPT_GENSALT_OUTPUT_SIZE];	/* setting for unknown users */
};

static bool
setting(unsigned cost, char out[CRYPT_GENSALT_OUTPUT_SIZE])
{
	char rnd[32];

	random_bytes(rnd, sizeof(rnd));
	return crypt_gensalt_rn("$y$", cost, rnd, sizeof(rnd), out, CRYPT_GENSALT_OUTPUT_SIZE)
	    != NULL;
}

static void
work(const struct dir_hash *h, struct job *j, struct crypt_data *data)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *got = NULL;

	if (j->verify)
		got = crypt_r(j->password, j->stored != NULL ? j->stored : h->dummy, data);
	else if (setting(h->cost, salt))
		got = crypt_r(j->password, salt, data);
	if (got != NULL && got[0] == '*')	/* crypt's way to say that it failed */
		got = NULL;
	if (j->verify)
		j->ok = got != NULL && j->stored != NULL && strlen(got) == strlen(j->stored)
		    && CRYPTO_memcmp(got, j->stored, strlen(got)) == 0;
	else if (got != NULL) {
		j->made = mem_dup(got);
		j->ok = true;
	}
	mem_wipe(j->password, strlen(j->password));
	mem_wipe(data, sizeof(*data));
}

static struct job *
take(struct dir_hash *h)
{
	struct job *j;

	pthread_mutex_lock(&h->lock);
	while (h->first == NULL && !h->ending)
		pthread_cond_wait(&h->more, &h->lock);
	j = h->ending ? NULL : h->first;
	if (j != NULL) {
		h->first = j->next;
		if (h->first == NULL)
			h->last = &h->first;
		h->waiting--;
	}
	pthread_mutex_unlock(&h->lock);
	return j;
}

static void *
thread(void *arg)
{
	struct dir_hash *h = arg;
	struct crypt_data *data = mem_alloc(sizeof(*data));
	uint64_t one = 1;
	struct job *j;

	while ((j = take(h)) != NULL) {
		work(h, j, data);
		pthread_mutex_lock(&h->lock);
		j->next = h->done;
		h->done = j;
		pthread_mutex_unlock(&h->lock);
		if (write(h->wake, &one, sizeof(one)) != sizeof(one))
			log_fatal("cannot wake the event loop");
	}
	free(data);
	return NULL;
}

static void
job_free(struct job *j)
{
	if (j->password != NULL)
		mem_wipe(j->password, strlen(j->password));
	free(j->password);
	free(j->stored);
	free(j->made);
	free(j);
}

static void
on_wake(int fd, short what, void *arg)
{
	struct dir_hash *h = arg;
	struct job *j, *next;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	pthread_mutex_lock(&h->lock);
	j = h->done;
	h->done = NULL;
	pthread_mutex_unlock(&h->lock);
	for (; j != NULL; j = next) {
		next = j->next;
		j->cb(j->arg, j->ok, j->made);
		job_free(j);
	}
}

struct dir_hash *
dir_hash_new(struct event_base *base, unsigned threads, unsigned queue_max, unsigned cost)
{
	struct dir_hash *h = mem_alloc(sizeof(*h));
	sigset_t all, old;

	h->queue_max = queue_max;
	h->cost = cost;
	h->last = &h->first;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->more, NULL);
	if (!setting(cost, h->dummy))
		log_fatal("libcrypt cannot make yescrypt settings of cost %u", cost);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wake == -1
	    || (h->event = event_new(base, h->wake, EV_READ | EV_PERSIST, on_wake, h)) == NULL
	    || event_add(h->event, NULL) == -1)
		log_fatal("cannot watch the hash threads");
	h->threads = mem_array(threads, sizeof(*h->threads));
	sigfillset(&all);			/* signals are the loop's business */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; h->nthreads < threads; h->nthreads++)
		if (pthread_create(&h->threads[h->nthreads], NULL, thread, h) != 0)
			log_fatal("cannot start a hash thread");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return h;
}

static void
free_list(struct job *j)
{
	for (struct job *next; j != NULL; j = next) {
		next = j->next;
		job_free(j);
	}
}

void
dir_hash_free(struct dir_hash *h)
{
	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->ending = true;
	pthread_cond_broadcast(&h->more);
	pthread_mutex_unlock(&h->lock);
	for (unsigned i = 0; i < h->nthreads; i++)
		pthread_join(h->threads[i], NULL);
	free_list(h->first);
	free_list(h->done);
	event_free(h->event);
	close(h->wake);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->more);
	free(h->threads);
	free(h);
}

static int
put(struct dir_hash *h, const char *password, const char *stored, bool verify, dir_hash_cb *cb,
    void *arg)
{
	struct job *j;

	pthread_mutex_lock(&h->lock);
	if (h->waiting >= h->queue_max) {
		pthread_mutex_unlock(&h->lock);
		errno = EAGAIN;
		return -1;
	}
	j = mem_alloc(sizeof(*j));
	j->password = mem_dup(password);
	j->stored = mem_dup(stored);
	j->verify = verify;
	j->cb = cb;
	j->arg = arg;
	*h->last = j;
	h->last = &j->next;
	h->waiting++;
	pthread_cond_signal(&h->more);
	pthread_mutex_unlock(&h->lock);
	return 0;
}

int
dir_hash_verify(struct dir_hash *h, const char *password, const char *stored, dir_hash_cb *cb,
    void *arg)
{
	return put(h, password, stored, true, cb, arg);
}

int
dir_hash_make(struct dir_hash *h, const char *password, dir_hash_cb *cb, void *arg)
{
	return put(h, password, NULL, false, cb, arg);
}

/* ---- passwords that were right ------------------------------------------- */

struct dir_cache {
	unsigned n;
	int64_t life_ms;
	uint8_t key[32];
	struct { uint8_t mac[32]; int64_t until_ms; } *slots;
};

struct dir_cache *
dir_cache_new(unsigned entries, int64_t life_ms)
{
	struct dir_cache *c = mem_alloc(sizeof(*c));

	c->n = entries;
	c->life_ms = life_ms;
	c->slots = mem_array(entries, sizeof(*c->slots));
	random_bytes(c->key, sizeof(c->key));
	return c;
}

void
dir_cache_free(struct dir_cache *c)
{
	if (c == NULL)
		return;
	mem_wipe(c->key, sizeof(c->key));
	free(c->slots);
	free(c);
}

/* The slot that these belong to; a later entry takes its place. */
static unsigned
digest(const struct dir_cache *c, uint64_t user, const char *stored, const char *password,
    uint8_t mac[32])
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, user);
	wire_put_str(&w, stored);
	wire_put_str(&w, password);
	if (HMAC(EVP_sha256(), c->key, sizeof(c->key), w.p, w.len, mac, NULL) == NULL)
		log_fatal("HMAC failed");
	mem_wipe(w.p, w.len);
	wire_out_clear(&w);
	return wire_load32(mac) % c->n;
}

bool
dir_cache_has(struct dir_cache *c, uint64_t user, const char *stored, const char *password,
    int64_t now_ms)
{
	uint8_t mac[32];
	unsigned i;

	if (c->life_ms == 0)
		return false;
	i = digest(c, user, stored, password, mac);
	return c->slots[i].until_ms > now_ms && CRYPTO_memcmp(c->slots[i].mac, mac, 32) == 0;
}

void
dir_cache_add(struct dir_cache *c, uint64_t user, const char *stored, const char *password,
    int64_t now_ms)
{
	uint8_t mac[32];
	unsigned i;

	if (c->life_ms == 0)
		return;
	i = digest(c, user, stored, password, mac);
	memcpy(c->slots[i].mac, mac, sizeof(mac));
	c->slots[i].until_ms = now_ms + c->life_ms;
}
