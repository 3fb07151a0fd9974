/*
 * load.c: sends one request over and over on kept connections, and says what
 * it cost another process.  For t/bench/run.
 *
 *     load [-bu] [-c CONNECTIONS] [-n REQUESTS] [-w WARM] [-p PID] PORT FILE
 *     load -i [-c CONNECTIONS] PORT FILE
 *
 * FILE is a whole HTTP/1.1 request.  The CPU time of PID is taken after WARM
 * requests and again after REQUESTS more, when all connections have stopped.
 * With -b it never sleeps: whoever answers it does not have to wake it.
 * With -u no request is like another: ten noughts in FILE become a number.
 * With -i each connection sends one request and waits for its first event;
 * then "idle" is printed and everything stays open until stdin ends.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>


#define BUFFER  65536
#define HEADER  8192
#define NUMBER  "0000000000"


typedef enum { HEAD, LENGTH, SIZE, CHUNK, CRLF, LAST } state_e;

typedef struct {
    int        fd;
    size_t     sent;               /* of the request */
    state_e    state;
    char       head[HEADER];       /* or a chunk's size line */
    size_t     len;
    long       rest;               /* of the body or the chunk */
    int        newline;            /* the body's last byte was LF */
    int        busy;               /* between a request and its answer */
    double     start;
} conn_t;

typedef struct {
    long       done, errors, events, reads, bytes, lost;
    double     wall, cpu;
} count_t;


static void start(conn_t *c);
static void stamp(void);
static void say(conn_t *c);
static void hear(conn_t *c);
static size_t parse(conn_t *c, char *p, size_t len);
static size_t head(conn_t *c, char *p, size_t len);
static void body(conn_t *c, char *p, size_t len);
static void finished(conn_t *c);
static void round_of(conn_t *conns, long n);
static void pace(void);
static double now(clockid_t id);
static int smaller(const void *one, const void *two);
static void die(const char *what);


static struct sockaddr_in  peer;
static char               *request, *number;
static size_t              request_len;
static int                 ep, connections = 32, idle, rate, busy;
static long                to_start, to_finish;
static double             *times;
static count_t             count;
static char                buffer[BUFFER];


int
main(int argc, char **argv)
{
    int           fd, opt, unlike = 0;
    long          n = 1000, warm = 100;
    pid_t         pid = 0;
    conn_t       *conns;
    double        wall, cpu = 0;
    clockid_t     id = CLOCK_PROCESS_CPUTIME_ID;
    struct stat   st;

    while ((opt = getopt(argc, argv, "buc:n:w:p:r:i")) != -1) {
        switch (opt) {
        case 'c': connections = atoi(optarg); break;
        case 'n': n = atol(optarg); break;
        case 'w': warm = atol(optarg); break;
        case 'p': pid = atoi(optarg); break;
        case 'r': rate = atoi(optarg); break;
        case 'i': idle = 1; break;
        case 'b': busy = 1; break;
        case 'u': unlike = 1; break;
        default: return 2;
        }
    }

    if (argc - optind != 2 || connections < 1) {
        return 2;
    }

    peer.sin_family = AF_INET;
    peer.sin_port = htons(atoi(argv[optind]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = open(argv[optind + 1], O_RDONLY);

    if (fd == -1 || fstat(fd, &st) == -1) {
        die("request");
    }

    request_len = st.st_size;
    request = malloc(request_len);
    conns = calloc(connections, sizeof(conn_t));
    times = calloc(n + warm + connections, sizeof(double));
    ep = epoll_create1(0);

    if (!request || !conns || !times || ep == -1
        || read(fd, request, request_len) != (ssize_t) request_len)
    {
        die("start");
    }

    if (unlike) {
        number = memmem(request, request_len, NUMBER, sizeof(NUMBER) - 1);

        if (number == NULL) {
            die("no number in the request");
        }
    }

    if (pid && clock_getcpuclockid(pid, &id) != 0) {
        die("clock of the process");
    }

    if (idle) {
        round_of(conns, connections);
        printf("idle\n");
        fflush(stdout);
        while (read(0, buffer, BUFFER) > 0) { /* void */ }
        return 0;
    }

    round_of(conns, warm);

    memset(&count, 0, sizeof(count_t));

    wall = now(CLOCK_MONOTONIC);
    cpu = now(id);

    round_of(conns, n);

    cpu = now(id) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;

    qsort(times, count.done, sizeof(double), smaller);

    printf("requests %ld errors %ld lost %ld events %ld reads %ld bytes %ld "
           "cpu_us %.3f wall_s %.4f p50_ms %.3f p99_ms %.3f\n",
           count.done, count.errors, count.lost, count.events, count.reads,
           count.bytes, cpu * 1e6, wall, times[count.done / 2] * 1e3,
           times[count.done * 99 / 100] * 1e3);

    return count.errors != 0;
}


/* n requests, and all of their answers */

static void
round_of(conn_t *conns, long n)
{
    int                  i, ready;
    conn_t              *c;
    struct epoll_event   events[256];

    to_start = n;
    to_finish = n;

    for (i = 0; i < connections && to_start; i++) {
        start(&conns[i]);
    }

    while (to_finish) {
        do {
            ready = epoll_wait(ep, events, 256, busy ? 0 : 30000);
        } while (ready == 0 && busy);

        if (ready == 0) {
            errno = ETIMEDOUT;
        }

        if (ready <= 0) {
            die("wait");
        }

        for (i = 0; i < ready; i++) {
            c = events[i].data.ptr;

            if (c->busy) {
                say(c);
            }

            if (events[i].events & ~EPOLLOUT) {
                hear(c);
            }
        }
    }
}


static void
start(conn_t *c)
{
    int                 one = 1;
    struct epoll_event  ev;

    to_start--;
    c->busy = 1;
    c->state = HEAD;
    c->len = 0;
    c->sent = 0;
    c->start = now(CLOCK_MONOTONIC);

    if (c->fd == 0) {
        c->fd = socket(AF_INET, SOCK_STREAM, 0);

        if (c->fd == -1
            || connect(c->fd, (struct sockaddr *) &peer, sizeof(peer)) == -1
            || fcntl(c->fd, F_SETFL, O_NONBLOCK) == -1)
        {
            die("connect");
        }

        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

        ev.events = EPOLLIN|EPOLLOUT|EPOLLET;
        ev.data.ptr = c;
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
    }

    say(c);
}


/* microseconds, or one more: another run goes on behind this one */

static void
stamp(void)
{
    char           text[sizeof(NUMBER)];
    long           micros;
    static long    last;

    micros = (long) (now(CLOCK_MONOTONIC) * 1e6);
    last = (micros > last) ? micros : last + 1;

    snprintf(text, sizeof(text), "%010ld", last % 10000000000);
    memcpy(number, text, sizeof(text) - 1);
}


/* the number is in what is sent first, even if not all of it is */

static void
say(conn_t *c)
{
    ssize_t  n;

    if (number && c->sent == 0) {
        stamp();
    }

    while (c->sent < request_len) {
        n = send(c->fd, request + c->sent, request_len - c->sent,
                 MSG_NOSIGNAL);

        if (n <= 0) {
            return;
        }

        c->sent += n;
    }
}


static void
hear(conn_t *c)
{
    char    *p;
    size_t   used;
    ssize_t  n;

    for ( ;; ) {
        n = recv(c->fd, buffer, BUFFER, 0);

        if (n == -1 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            /* a kept connection may be closed between two requests */

            close(c->fd);
            c->fd = 0;

            if (c->busy && c->state == HEAD && c->len == 0) {
                count.lost++;
                to_start++;
                start(c);

            } else if (c->busy) {
                count.errors++;
                finished(c);
            }

            return;
        }

        count.reads++;
        count.bytes += n;

        for (p = buffer; n > 0; p += used, n -= used) {
            used = parse(c, p, n);
        }
    }
}


/* returns how many bytes it has read, at least one */

static size_t
parse(conn_t *c, char *p, size_t len)
{
    size_t  n;

    switch (c->state) {

    case HEAD:
        return head(c, p, len);

    case LENGTH:
    case CHUNK:
        n = len < (size_t) c->rest ? len : (size_t) c->rest;
        body(c, p, n);
        c->rest -= n;

        if (c->rest == 0) {

            if (c->state == LENGTH) {
                finished(c);

            } else {
                c->state = CRLF;
            }
        }

        return n;

    case CRLF:

        if (*p == '\n') {
            c->state = SIZE;
            c->len = 0;
        }

        return 1;

    case SIZE:

        if (*p != '\n') {
            c->head[c->len++ % 16] = *p;
            return 1;
        }

        c->head[c->len % 16] = '\0';
        c->rest = strtol(c->head, NULL, 16);
        c->state = c->rest ? CHUNK : LAST;

        return 1;

    default: /* LAST: the blank line */

        if (*p == '\n') {
            finished(c);
        }

        return 1;
    }
}


static size_t
head(conn_t *c, char *p, size_t len)
{
    char    *end, *field;
    size_t   old = c->len;

    if (len > HEADER - 1 - old) {
        len = HEADER - 1 - old;
    }

    memcpy(c->head + old, p, len);
    c->len += len;
    c->head[c->len] = '\0';

    end = strstr(c->head, "\r\n\r\n");

    if (end == NULL) {

        if (len == 0) {
            errno = EMSGSIZE;
            die("header");
        }

        return len;
    }

    end[2] = '\0';

    if (memcmp(c->head, "HTTP/1.1 200", 12) != 0) {

        if (count.errors++ == 0) {
            fprintf(stderr, "load: %.*s\n", 40, c->head);
        }
    }

    field = strcasestr(c->head, "\ncontent-length:");

    if (field) {
        c->state = LENGTH;
        c->rest = atol(field + 16);

    } else {
        c->state = SIZE;
    }

    len = end + 4 - c->head - old;
    c->len = 0;

    if (c->state == LENGTH && c->rest == 0) {
        finished(c);
    }

    return len;
}


/* an event ends with an empty line */

static void
body(conn_t *c, char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if (p[i] == '\n' && c->newline) {
            count.events++;

            if (idle) {
                to_finish--;
            }
        }

        c->newline = (p[i] == '\n');
    }
}


static void
finished(conn_t *c)
{
    if (idle) {
        errno = EPIPE;
        die("a stream has ended");
    }

    times[count.done++] = now(CLOCK_MONOTONIC) - c->start;
    to_finish--;

    c->busy = 0;
    c->state = HEAD;
    c->len = 0;

    if (to_start) {
        pace();
        start(c);
    }
}


/* so many in a second, of one connection: it waits for its turn */

static void
pace(void)
{
    struct timespec       ts;
    static double         due;

    if (rate == 0) {
        return;
    }

    due += 1.0 / rate;

    if (due < now(CLOCK_MONOTONIC)) {
        due = now(CLOCK_MONOTONIC);
        return;
    }

    ts.tv_sec = (time_t) due;
    ts.tv_nsec = (long) ((due - ts.tv_sec) * 1e9);

    (void) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}


static double
now(clockid_t id)
{
    struct timespec  ts;

    if (clock_gettime(id, &ts) == -1) {
        die("clock");
    }

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static int
smaller(const void *one, const void *two)
{
    double  a = *(double *) one, b = *(double *) two;

    return (a > b) - (a < b);
}


static void
die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}
