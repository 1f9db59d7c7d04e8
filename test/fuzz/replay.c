/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  Feeds a fuzzer its corpus without libFuzzer.
 *
 * Linked with one fuzz_*.c.  Each argument is a directory of inputs, or one
 * input; for each a TAP line is printed.  Inputs that every parser must stand
 * (nothing, each single byte, long runs) come first and are a test as well.
 *
 * Invariant: a crash costs one line, which names the input; the other
 * arguments are still run.  Each argument therefore has a process of its own.
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME_BYTES	4096
#define LONG_RUN	65536

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern int	LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

/* What the child is at, readable by its parent after a crash. */
typedef struct Progress
{
	size_t		inputs;
	char		current[NAME_BYTES];
} Progress;

static Progress *progress;

/* feed hands one input over, in a block of exactly its size so that reading
 * past its end is noticed. */
static void
feed(const char *name, const uint8_t *data, size_t size)
{
	uint8_t    *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	snprintf(progress->current, sizeof(progress->current), "%s", name);
	LLVMFuzzerTestOneInput(copy, size);
	progress->inputs++;
	free(copy);
}

/* feed_file hands over the contents of one file; false if it cannot be read. */
static bool
feed_file(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	uint8_t    *data = NULL;
	size_t		size = 0;
	size_t		room = 0;
	bool		complete;

	snprintf(progress->current, sizeof(progress->current), "%s", path);
	if (file == NULL)
		return false;
	do
	{
		if (size == room)
		{
			room = room > 0 ? room * 2 : 4096;
			data = realloc(data, room);
			if (data == NULL)
				abort();
		}
		size += fread(data + size, 1, room - size, file);
	} while (!feof(file) && !ferror(file));
	complete = !ferror(file);
	fclose(file);
	if (complete)
		feed(path, data, size);
	free(data);
	return complete;
}

/* feed_path hands over one file, or every file of a directory. */
static bool
feed_path(const char *path)
{
	struct stat st;
	DIR		   *dir;
	struct dirent *entry;
	bool		complete = true;

	if (stat(path, &st) != 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		return feed_file(path);

	dir = opendir(path);
	if (dir == NULL)
		return false;
	while ((entry = readdir(dir)) != NULL)
	{
		char		name[NAME_BYTES];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		complete = feed_file(name) && complete;
	}
	closedir(dir);
	return complete;
}

/* feed_edges hands over what no corpus needs to hold. */
static bool
feed_edges(void)
{
	static const uint8_t runs[] = {0, ' ', '%', '&', '/', '0', '=', 'A', 0x80, 0xff};
	uint8_t    *run = malloc(LONG_RUN);
	char		name[64];

	if (run == NULL)
		abort();
	feed("nothing", NULL, 0);
	for (int byte = 0; byte < 256; byte++)
	{
		uint8_t		one = (uint8_t) byte;

		snprintf(name, sizeof(name), "the byte 0x%02x", byte);
		feed(name, &one, 1);
	}
	for (size_t i = 0; i < sizeof(runs); i++)
	{
		for (size_t length = 2; length <= LONG_RUN; length *= 8)
		{
			memset(run, runs[i], length);
			snprintf(name, sizeof(name), "%zu times the byte 0x%02x", length, runs[i]);
			feed(name, run, length);
		}
	}
	free(run);
	return true;
}

/* run_apart runs one argument (NULL: the edges) in a process of its own. */
static bool
run_apart(const char *path)
{
	int			status;
	pid_t		child;

	memset(progress, 0, sizeof(*progress));
	fflush(stdout);
	child = fork();
	if (child == 0)
		exit((path != NULL ? feed_path(path) : feed_edges()) ? 0 : 1);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int
main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *program = slash != NULL ? slash + 1 : argv[0];
	int			failed = 0;

	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);

	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED)
	{
		perror("mmap");
		return 1;
	}

	printf("1..%d\n", argc);
	for (int i = 0; i < argc; i++)
	{
		const char *path = i > 0 ? argv[i] : NULL;
		const char *what = path != NULL ? path : "edges";

		if (run_apart(path))
			printf("ok %d - %s: %s, %zu inputs\n", i + 1, program, what,
				   progress->inputs);
		else
		{
			printf("not ok %d - %s: %s, at %s\n", i + 1, program, what,
				   progress->current[0] != '\0' ? progress->current : what);
			failed++;
		}
	}
	return failed > 0;
}
